"""The statistics against SciPy's and NumPy's, on the same numbers."""

import itertools
import json
import math
import random
import subprocess

import numpy
import pytest
from reqscope_cli import REQSCOPE
from scipy import stats

DRIVER = REQSCOPE.parent / "stats/stats_driver"


def ask(commands):
    """What the driver answers to each command, a list of words and numbers."""
    text = "".join(" ".join(w if isinstance(w, str) else repr(float(w)) for w in c) + "\n" for c in commands)
    done = subprocess.run([DRIVER], input=text, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def two(command, base, new):
    return [command, len(base), *base, len(new), *new]


def samples(seed, count, most=12):
    """Pairs of small samples: normal, of few distinct values, constant, far from 0, and wide apart in spread."""
    r = random.Random(seed)
    for i in range(count):
        n, m = r.randint(2, most), r.randint(2, most)
        make = [
            lambda: r.gauss(0, 1),
            lambda: float(r.randint(0, 3)),
            lambda: 1e6 + r.random() * 1e-3,
            lambda: math.exp(r.gauss(0, 4)),
        ][i % 4]
        shift = r.choice([0, 0, 1, 3])
        yield [make() for _ in range(n)], [make() + shift for _ in range(m)]


def test_t_distribution():
    freedoms = [0.3, 1, 1.5, 2, 3, 4.7, 8, 9.99, 30, 63, 100, 1000.5, 1e5, 1e7, 1e9, math.inf]
    sizes = (0, 1e-9, 0.01, 0.5, 1, 1.96, 2.5, 4, 7, 12, 40, 1e4)
    points = [(sign * t, df) for df in freedoms for t in sizes for sign in (1, -1)]
    for (t, df), (got,) in zip(points, ask(["cdf", *p] for p in points)):
        want = stats.t.cdf(t, df) if df < math.inf else stats.norm.cdf(t)
        assert got == pytest.approx(want, abs=1e-9), (t, df)
        if 1e-300 < want < 0.5:  # tails by their own size
            assert got == pytest.approx(want, rel=1e-7), (t, df)


def test_t_quantile():
    freedoms = [0.5, 1, 1.5, 2, 3, 4.7, 8, 9.99, 30, 63, 100, 1000.5, 1e5, 1e7, math.inf]
    shares = (1e-6, 0.001, 0.0125, 0.025, 0.1, 0.4, 0.5, 0.8, 0.975, 0.9875, 0.999999)
    points = [(p, df) for df in freedoms for p in shares]
    for (p, df), (got,) in zip(points, ask(["quantile", *p] for p in points)):
        want = stats.t.ppf(p, df) if df < math.inf else stats.norm.ppf(p)
        assert got == pytest.approx(want, rel=1e-9, abs=1e-9), (p, df)


def test_chi_square_quantile():
    freedoms = [0.05, 0.5, 1, 2, 2.7, 4, 20, 22, 100, 999.5, 1999, 2000, 1e4, 1e6, 1e9]
    points = [(p, df) for df in freedoms for p in (0.001, 0.025, 0.5, 0.9, 0.975, 0.999)]
    for (p, df), (got,) in zip(points, ask(["chi_square", *p] for p in points)):
        assert got == pytest.approx(stats.chi2.ppf(p, df), rel=1e-8 if df < 2000 else 1e-5, abs=1e-12), (p, df)


@pytest.mark.filterwarnings("ignore:Precision loss")  # of SciPy's moments: some samples are constant
def test_welch():
    pairs = list(samples(1, 200))
    for (base, new), got in zip(pairs, ask(two("welch", b, n) for b, n in pairs)):
        difference, se, df, low, high = got
        assert difference == pytest.approx(numpy.mean(new) - numpy.mean(base), abs=1e-9)
        assert se == pytest.approx(math.sqrt(numpy.var(base, ddof=1) / len(base) + numpy.var(new, ddof=1) / len(new)))
        if not se:
            continue
        reference = stats.ttest_ind(new, base, equal_var=False)
        interval = reference.confidence_interval(0.95)
        assert df == pytest.approx(reference.df, rel=1e-6)
        assert (low, high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


def test_welch_without_spread():
    alone, none, one_side = ask([
        two("welch", [1], [2, 3]),
        two("welch", [5, 5, 5], [7, 7]),
        two("welch", [5, 5, 5], [7, 8, 9]),
    ])  # fmt: skip
    assert alone == [1.5]  # and nothing is known of its spread
    assert none == [2, 0, 3, 2, 2]
    assert one_side[2] == pytest.approx(2)  # all of the uncertainty is that side's


def brute_permutation(base, new):
    """The share of splits whose means differ as much, in whole numbers."""
    both, n = base + new, len(base)
    total, m = sum(both), len(new)
    seen = abs(sum(base) * (n + m) - total * n)
    ways = [abs(sum(c) * (n + m) - total * n) >= seen for c in itertools.combinations(both, n)]
    return sum(ways) / len(ways)


def test_permutation_against_whole_numbers():
    r = random.Random(2)
    pairs = []
    for _ in range(60):
        n, m = r.randint(1, 6), r.randint(1, 6)
        pairs.append(([r.randint(0, 9) for _ in range(n)], [r.randint(0, 9) for _ in range(m)]))
    for (base, new), (got,) in zip(pairs, ask(two("permutation", b, n) for b, n in pairs)):
        assert got == pytest.approx(brute_permutation(base, new), abs=1e-12), (base, new)


def difference(a, b, axis):
    return numpy.mean(b, axis=axis) - numpy.mean(a, axis=axis)


def test_permutation_against_scipy():
    pairs = list(samples(3, 24, most=6))
    for (base, new), (got,) in zip(pairs, ask(two("permutation", b, n) for b, n in pairs)):
        middle = numpy.mean(base + new)  # far from 0 SciPy's own tolerance is less than the rounding
        sides = [[v - middle for v in base], [v - middle for v in new]]
        reference = stats.permutation_test(sides, difference, vectorized=True, n_resamples=math.inf)
        # Where the sizes differ SciPy doubles the smaller tail; the share beyond on either side is compared by itself.
        null = reference.null_distribution
        beyond = numpy.abs(null) >= abs(reference.statistic) - 1e-9 * max(map(abs, sides[0] + sides[1]))
        assert got == pytest.approx(beyond.mean(), abs=1e-12), (base, new)
        if len(base) == len(new):
            assert got == pytest.approx(reference.pvalue, abs=1e-12)


def test_permutation_by_sample():
    """Beyond 200,000 splits a sample is taken: near SciPy's, never 0, the same each time."""
    r = random.Random(4)
    base, new = [r.gauss(0, 1) for _ in range(15)], [r.gauss(0.6, 1) for _ in range(15)]
    far = [v + 100 for v in new]
    (p,), (again,), (least,) = ask([two("permutation", base, new)] * 2 + [two("permutation", base, far)])
    assert p == again and least == pytest.approx(1 / 20001)
    reference = stats.permutation_test((base, new), difference, vectorized=True, n_resamples=100000, rng=5)
    assert p == pytest.approx(reference.pvalue, abs=4 * math.sqrt(reference.pvalue / 20000))


def holm(p):
    order = sorted(range(len(p)), key=p.__getitem__)
    adjusted, least = [0.0] * len(p), 0
    for rank, i in enumerate(order):
        least = max(least, (len(p) - rank) * p[i])
        adjusted[i] = min(1, least)
    return adjusted


def test_adjusted():
    r = random.Random(6)
    lists = [[], [0.03], [0, 0, 0], [1, 1], [0.01, 0.04, 0.03, 0.005]]
    lists += [[round(r.random() ** 3, r.choice([1, 2, 9])) for _ in range(r.randint(1, 30))] for _ in range(100)]
    for p, got in zip(lists, ask(["holm", len(p), *p] for p in lists)):
        assert got == pytest.approx(holm(p), abs=1e-15)
    for p, got in zip(lists, ask(["bh", len(p), *p] for p in lists)):
        assert got == pytest.approx(list(stats.false_discovery_control([float(v) for v in p])) if p else [], abs=1e-15)


def test_holm_by_hand():
    assert ask([["holm", 4, 0.01, 0.04, 0.03, 0.005]])[0] == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_cliff():
    r = random.Random(7)
    pairs = [([0], [0]), ([0, 0, 1], [1, 0]), ([1], [2**60])]
    for _ in range(100):
        top = r.choice([3, 100, 10**9])
        pairs.append(tuple([r.randrange(top) for _ in range(r.randint(1, 60))] for _ in range(2)))

    def bucket(v):
        return -1 if not v else 0 if v == 1 else math.ceil(round(math.log2(v) * 256, 9))

    for (base, new), (got,) in zip(pairs, ask(two("cliff", b, n) for b, n in pairs)):
        a, b = [bucket(v) for v in base], [bucket(v) for v in new]
        signs = [(y > x) - (y < x) for x in a for y in b]
        assert got == pytest.approx(sum(signs) / len(signs), abs=1e-15)


def test_power():
    cases = [(0.02, 8), (0.05, 4.5), (1, 126)]
    for (se, df), (got,) in zip(cases, ask(["detectable", *c] for c in cases)):
        assert got == pytest.approx(se * (stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)), rel=1e-9)

    def detectable(n, a, b):
        df = (n - 1) * (a + b) ** 2 / (a * a + b * b)
        return math.sqrt((a + b) / n) * (stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df))

    cases = [(0.05, 0.001, 0.001), (0.1, 0.01, 0.0001), (0.01, 0.002, 0.004)]
    for (effect, a, b), (runs,) in zip(cases, ask(["runs", *c] for c in cases)):
        assert detectable(runs, a, b) <= effect < detectable(runs - 1, a, b)
    assert ask([["runs", 1e-9, 1, 1], ["runs", 0.1, 0, 0]]) == [[0], [2]]
