#!/bin/sh
# deb.sh VERSION FOLDER: makes the Debian package in FOLDER, from the files that git has, as they stand in the working tree;
# without git from all of them.
#
# A tree is put together in FOLDER/reqscope-VERSION, with debian/ where Debian wants it, and built there. Nothing of
# what it is built by, where and when gets into the package: times are that of the last commit, or the changelog's.
set -eu
umask 022
cd "$(dirname "$0")/../.."
version=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
tree=$folder/reqscope-$version

# The tree's files, with a NUL behind each.
files() {
	if [ -e .git ]; then
		git ls-files -z
	else
		find Makefile README.md LICENSE agent analyzer include tests -type f ! -path '*/__pycache__/*' -print0
	fi
}

# The program tells its version itself; the package's must be the same.
said=$(dpkg-parsechangelog -l analyzer/package/debian/changelog -S Version)
if [ "$said" != "$version" ]; then
	echo "deb: debian/changelog ends with version $said, the Makefile has $version" >&2
	exit 1
fi
if [ -e .git ]; then
	SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
else
	SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l analyzer/package/debian/changelog -S Timestamp)
fi
export SOURCE_DATE_EPOCH

rm -rf "$tree" "$folder"/*.deb "$folder"/reqscope_*
mkdir "$tree"
# What is deleted and not yet committed so is left out, with a warning.
files | tar --null --files-from=- --ignore-failed-read --mtime="@$SOURCE_DATE_EPOCH" -cf "$folder/tree.tar"
tar -xf "$folder/tree.tar" -C "$tree"
rm "$folder/tree.tar"
cp -Rp "$tree/analyzer/package/debian" "$tree/debian"
cd "$tree"
echo "deb: building in $tree; some minutes"
# What the make that runs this was told (BUILD, flags) isn't the package's.
if ! env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u BUILD -u CFLAGS -u CPPFLAGS -u LDFLAGS LC_ALL=C.UTF-8 \
	dpkg-buildpackage -b -uc -us >"$folder/log" 2>&1; then
	tail -n 30 "$folder/log" >&2
	echo "deb: dpkg-buildpackage failed; all of its output is in $folder/log" >&2
	exit 1
fi
cd "$folder"
sha256sum ./*.deb
