#!/bin/sh
# chroot.sh SUITE PACKAGE...: a minimal Debian of that release with those packages in build/chroots/SUITE; once.
#
# As root. Nothing stays mounted: what runs in it mounts what it needs in a namespace of its own.
set -eu
cd "$(dirname "$0")/../.."
suite=$1
shift
folder=$PWD/build/chroots/$suite

[ -e "$folder.made" ] && exit 0
rm -rf --one-file-system "$folder"
mkdir -p "$folder"
exec 9>"$folder.lock"
flock 9
[ -e "$folder.made" ] && exit 0
if ! unshare --mount debootstrap --variant=minbase --include="$(echo "$@" | tr ' ' ,)" "$suite" "$folder" \
	"${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$folder.log" 2>&1; then
	tail -n 5 "$folder.log" >&2
	exit 1
fi
rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/*
touch "$folder.made"
