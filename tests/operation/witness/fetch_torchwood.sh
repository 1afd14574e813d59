#!/usr/bin/env bash
# Fetches a later litewitness, of Debian's package torchwood in sid, into a folder, without installing it.
#
# litetlog became torchwood. apt gets lists of its own in the work folder: the machine's stay as they are.
set -euo pipefail
mkdir -p "$1"
out=$(realpath "$1")
site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep debian | grep -v security | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p lists/partial cache/archives/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site sid main" > sources.list
own=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/nonexistent
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get "${own[@]}" update -q >&2
apt-get "${own[@]}" download -q torchwood >&2
dpkg -x torchwood_*.deb root
cp root/usr/bin/{litewitness,witnessctl} "$out/"
basename torchwood_*.deb
