#!/usr/bin/env bash
# fresh.sh: README's two commands in a Debian 12 that has nothing but git, make and ca-certificates, on a clone of HEAD.
#
# As root. debootstrap makes the system below build/chroots, and it is deleted at the end. What goes on is shown and in
# build/fresh/log; the tests' results are in build/fresh/results. Exit status 0: all went as README says.
#
# The network is the machine's. Of its settings go in what leads to the package registries: the resolver, certificates
# that it trusts beside Debian's, and those of the variables below that are set.
set -u
cd "$(dirname "$0")/../.." || exit 1

packages=git,make,ca-certificates
seconds=${FRESH_SECONDS:-5400} # for each command
passed_on='http_proxy https_proxy no_proxy PIP_INDEX_URL npm_config_registry GOPROXY GOSUMDB'
kept=$PWD/build/fresh

say() {
	printf 'fresh, %s: %s\n' "$(date +%T)" "$*"
}

fail() {
	say "$*"
	exit 1
}

# ---- inside, as process 1 of a namespace; a root in a mere chroot may make no namespaces ----

# step NAME USER COMMAND: whether it succeeded; its output is in /output too.
step() {
	local begin=$SECONDS status
	say "$1: begins"
	timeout -k 10 "$seconds" su - "$2" -c "$settings $3" </dev/null 2>&1 | tee /output
	status=${PIPESTATUS[0]}
	took=$((SECONDS - begin))
	say "$1: exit status $status after $((took / 60)) min $((took % 60)) s"
	return "$status"
}

# verdict WORD NAME TEXT: a line of the table at the end.
verdict() {
	[ "$1" = ok ] || worst=1
	printf '  %-4s  %-38s %3d min %2d s  %s\n' "$1" "$2" $((took / 60)) $((took % 60)) "$3" >>/kept/table
}

succeeds() {
	local word=ok
	step "$@" || word=FAIL
	verdict $word "$1" "$(grep -E '^[0-9]+ passed, [0-9]+ failed' /output)"
}

# Who can't install is told the one command that root runs; that it names what is needed shows with root's own.
asks_for_packages() {
	local word=FAIL
	step "$@" || ! grep -q '^sudo apt-get update && sudo apt-get install .* gcc .* python3 ' /output || word=ok
	verdict $word "$1" "ends with the command that installs them"
}

inside() {
	umount --lazy /outside
	# Root's tree is where other users may read, as nginx's workers must to load the agent; /root is closed.
	local mine=/srv/reqscope clone='git clone -q /source'
	worst=0 took=0
	useradd -m -s /bin/bash newcomer
	asks_for_packages 'make demo, as a user, without packages' newcomer "$clone reqscope && cd reqscope && make demo"
	succeeds 'make demo, as root, from nothing' root "$clone $mine && cd $mine && make demo"
	succeeds 'make demo, as that user' newcomer 'cd reqscope && make demo'
	succeeds 'make check, as root' root "cd $mine && make check"
	cp -a $mine/build/results /kept/ 2>/dev/null
	return "$worst"
}

# ---- outside ----

enter='
mount --bind "$1" "$1" && cd "$1" || exit
mkdir -p dev/shm kept outside && ln -sf pts/ptmx dev/ptmx && mount -t proc proc proc && mount --rbind /sys sys &&
	mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts && mount -t tmpfs tmpfs dev/shm &&
	mount --bind "$2" kept && pivot_root . outside || exit
exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin /bin/bash -c "$3"
'

settings() {
	local name
	for name in $passed_on; do
		[ -z "${!name-}" ] || printf 'export %s=%q; ' "$name" "${!name}"
	done
}

install_system() {
	command -v debootstrap || { apt-get update && apt-get install -y --no-install-recommends debootstrap; } || return
	unshare --mount debootstrap --variant=minbase --include="$packages" bookworm "$folder" ${DEBIAN_MIRROR:-} || return
	cp -L /etc/resolv.conf /etc/hosts "$folder/etc/"
	cp /usr/local/share/ca-certificates/*.crt "$folder/usr/local/share/ca-certificates/" &&
		chroot "$folder" update-ca-certificates
	git bundle create "$folder/source" HEAD $(git symbolic-ref -q --short HEAD)
} >"$kept/installation.log" 2>&1

# All processes inside end with the first one, and mounts with the last.
finish() {
	if [ -n "${space-}" ]; then
		kill -KILL "$space" && wait "$space"
	fi 2>/dev/null
	rm -rf --one-file-system "$folder" 2>/dev/null || { sleep 3 && rm -rf --one-file-system "$folder"; }
}

main() {
	[ "$(id -u)" = 0 ] || fail "needs root, for debootstrap and chroot"
	folder=$(mktemp -d "$PWD/build/chroots/fresh.XXXXXX") && chmod 755 "$folder" || exit 1
	trap finish EXIT
	trap 'exit 130' INT TERM HUP
	say "Debian 12 by debootstrap, with ${packages//,/, }"
	install_system || fail "no system was made; see $kept/installation.log"
	local commit
	commit=$(git rev-parse --short HEAD)
	system="Debian $(cat "$folder/etc/debian_version"), Linux $(uname -r), $(nproc) cores, commit $commit"
	say "$system; passed on: $(settings)"
	unshare --mount --pid --fork --kill-child sh -c "$enter" sh "$folder" "$kept" \
		"$(declare -f say step verdict succeeds asks_for_packages inside)
		seconds=$seconds settings=$(printf %q "$(settings)")
		inside" &
	space=$!
	wait "$space"
	status=$?
	space=
	say "$system"
	cat "$kept/table"
	return "$status"
}

rm -rf "$kept" && mkdir -p "$kept" build/chroots || exit 1
main > >(tee "$kept/log") 2>&1
