#!/usr/bin/env bash
# Builds Debian's litewitness from Debian's own sources into a folder, without installing anything.
#
# The program of litetlog 0.4.3-3+b3 signs nothing: it panics where it keeps a checkpoint that it has
# verified, since Debian's SQLite library takes no byte array. Here it keeps the hash as text, as the
# table wants it; nothing else is changed. Needs apt's sources, a C compiler and some 90 s.
set -euo pipefail
mkdir -p "$1"
out=$(realpath "$1")
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
mapfile -t needed < <(apt-get install -s --no-install-recommends golang-github-filosottile-litetlog-dev \
  | awk '/^Inst golang/ {print $2}')
apt-get download -q golang-1.24-go golang-1.24-src "${needed[@]}" >&2
for package in *.deb; do dpkg -x "$package" root; done
cp -rL root/usr/lib/go-1.24 go  # its folders are links to /usr/share
export GOROOT=$work/go GOPATH=$work/root/usr/share/gocode GO111MODULE=off GOFLAGS='' GOCACHE=$work/cache
witness=$GOPATH/src/filippo.io/litetlog/internal/witness/witness.go
grep -q 'newSize, newHash, origin' "$witness"
sed -i 's/newSize, newHash, origin/newSize, newHash.String(), origin/' "$witness"
go/bin/go build -o "$out/" filippo.io/litetlog/cmd/litewitness filippo.io/litetlog/cmd/witnessctl
