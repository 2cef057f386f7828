#!/bin/sh
# Lays out the files of the container: packaging/rootfs.sh BINARY FOLDER
set -eu
binary=$1
root=$2
mkdir -p "$root/etc/ssl/certs" "$root/etc/bff"
cp "$binary" "$root/bff"
# The dynamic linker and the libraries, where the binary looks for them.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
# /etc/hosts before DNS, as everywhere else.
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
