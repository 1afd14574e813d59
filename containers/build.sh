#!/usr/bin/env bash
# build.sh WHEEL: three images, localhost/fieldfare-{coordinator,institution,node}, with Debian's buildah.
# Needs root, buildah and mmdebstrap; asks Debian's mirror and your package index, and no registry of images.
set -euo pipefail
wheel=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build() { buildah --storage-driver "${STORAGE:-vfs}" "$@"; }

mmdebstrap --quiet --variant=minbase --include=python3,python3-venv bookworm "$work/root.tar"
base=$(build from scratch)
build add --quiet "$base" "$work/root.tar" /
build commit --quiet --rm "$base" localhost/fieldfare-debian:12

for role in ${ROLES:-coordinator institution node}; do
  rm -rf "$work/context"
  mkdir -p "$work/context/wheels"
  cp "$wheel" "$work/context/wheels/"
  unzip -p "$wheel" "fieldfare/shared/party/locks/$role.txt" > "$work/context/wheels/$role.txt"
  platforms=()
  for minor in $(seq 17 36); do platforms+=(--platform "manylinux_2_${minor}_$(uname -m)"); done
  python3 -m pip download --quiet --no-deps --require-hashes --only-binary :all: --python-version 3.11 \
    --implementation cp --abi cp311 --abi abi3 --abi none --platform "manylinux2014_$(uname -m)" "${platforms[@]}" \
    --dest "$work/context/wheels" -r "$work/context/wheels/$role.txt"
  build bud --quiet --isolation chroot --pull-never --ulimit nofile=1024:4096 --ulimit nproc=4096:4096 --build-arg "ROLE=$role" --tag "localhost/fieldfare-$role" \
    --file "$here/Containerfile" "$work/context"
done
