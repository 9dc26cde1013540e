#!/bin/sh
# Builds the Go test servers into build/servers, and gets the Go toolchains for that; all it keeps is below build.
#
# Debian's Go is too old for the servers, but newer ones are modules of Go's module proxy, and it can fetch them.
# An older Go that can't be had is left out with a word, and its tests are skipped. Quick when nothing changed.
#
#   build.sh            all of them but gin-otel
#   build.sh gin-otel
set -eu
cd "$(dirname "$0")"
build=$(cd ../../.. && pwd)/build
out=$build/servers

newest=1.26.8
debian=1.19
older='1.18.10 1.21.13 1.22.12 1.23.12 1.24.13 1.25.14'

export GOPATH=$build/go GOMODCACHE=$build/go/mod GOCACHE=$build/go/cache
# Without -modcacherw nobody but `go clean` can remove it. A file that some user has elsewhere counts for nothing here.
export GOFLAGS=-modcacherw GOTOOLCHAIN=local GOWORK=off GOENV=off GO111MODULE=on CGO_ENABLED=0
: "${GOPROXY=https://proxy.golang.org,direct}"
export GOPROXY
unset GOROOT GOEXPERIMENT GOARCH GOOS GOAMD64

debian_go=/usr/lib/go-$debian/bin/go
mkdir -p "$out" "$GOPATH"

# toolchain VERSION: fetches it into GOMODCACHE and prints the path of its go. A module's files are not executable.
toolchain() {
	root=$GOMODCACHE/golang.org/toolchain@v0.0.1-go$1.linux-amd64
	if [ ! -x "$root/bin/go" ]; then
		(cd "$GOPATH" && "$debian_go" mod download "golang.org/toolchain@v0.0.1-go$1.linux-amd64") >&2 || return 1
		rm -rf "$GOMODCACHE/cache/download/golang.org/toolchain"
		chmod -R a+x "$root/pkg/tool"
		chmod a+x "$root/bin/go"
	fi
	echo "$root/bin/go"
}

# A Go of the machine that is as new as ours will do.
find_go() {
	found=$(go env GOVERSION 2>/dev/null || true)
	case $found in
	"go${newest%.*}".*) command -v go ;;
	*) toolchain "$newest" ;;
	esac
}

go=$(find_go)
server() {
	name=$1
	shift
	"$go" build -trimpath -o "$out/$name" "$@"
}

# For `make bench-peers` alone, and a module of its own.
if [ "${1:-}" = gin-otel ]; then
	cd gin-otel
	server gin-otel .
	exit
fi

for name in gin fiber echo chi nethttp micro mirror hostile; do
	server $name ./$name
done
server nethttp-stripped -ldflags='-s -w' ./nethttp
server mirror-pie -buildmode=pie ./mirror
server nethttp-pie -buildmode=pie ./nethttp
server nethttp-pgo -pgo=goroutines.pgo ./nethttp
export CGO_ENABLED=1
server nethttp-static-pie -buildmode=pie -tags=netgo,osusergo -ldflags='-linkmode=external -extldflags=-static-pie' ./nethttp
server nethttp-cgo ./nethttp
server nethttp-race -race ./nethttp
server beside-c ./beside-c
server nethttp-plugin -tags=plugin ./nethttp
server plugin.so -buildmode=plugin ./plugin
export CGO_ENABLED=0

# old VERSION: builds one server with that Go. Toolchain and cache go again: 400 MB each.
old() {
	one=$out/nethttp-${1%.*}
	[ "$1" = "$debian" ] && one=$out/nethttp-$1
	[ -e "$one" ] && [ -z "$(find nethttp common standard.mod build.sh -newer "$one")" ] && return
	folder=$GOPATH/old
	rm -rf "$folder" "$one"
	(
		export GOPATH="$folder" GOMODCACHE="$folder/mod" GOCACHE="$folder/cache"
		mkdir -p "$folder"
		go=$debian_go
		[ "$1" = "$debian" ] || go=$(toolchain "$1") || exit 1
		"$go" build -trimpath -modfile=standard.mod -o "$one" ./nethttp
	) || missing="$missing $1"
	rm -rf "$folder"
}

missing=
for version in $debian $older; do
	old "$version"
done
if [ -n "$missing" ]; then
	echo "deps: no server was built with Go$missing: the tests of these are skipped" >&2
	exit 3
fi
