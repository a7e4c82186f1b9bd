#!/usr/bin/env bash
# Make a Debian arm64 root with what a board's system has: its own Python, OpenCV with GStreamer, an sshd. Called by scripts/arm64/run, as root.
#
#     scripts/arm64/root.sh DIR
#
# Packages are set up under qemu-user: this takes most of the time. Documents and translations are left out, and the disk is not waited for.
set -euo pipefail
root=$1
[ ! -d "$root" ] || exit 0
packages=python3,python3-venv,python3-numpy,python3-opencv,openssh-server,rsync
packages+=,gstreamer1.0-plugins-base,gstreamer1.0-plugins-good,gstreamer1.0-plugins-bad,gstreamer1.0-libav
less=(--dpkgopt=force-unsafe-io --dpkgopt=path-exclude=/usr/share/{doc,man,locale}/'*')
rm -rf --one-file-system "$root.part" # what is mounted there is so in the namespace of that call alone
unshare -m mmdebstrap --quiet --mode=root --architectures=arm64 --variant=minbase "${less[@]}" "--include=$packages" bookworm "$root.part"
mv "$root.part" "$root"
