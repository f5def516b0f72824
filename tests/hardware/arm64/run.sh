#!/bin/bash
# An emulated Debian arm64 board: built once, provisioned by the roles in ansible/, enrolled at a controller on this host.
#
#   tests/hardware/arm64/run.sh PYTHON ANSIBLE_BIN
#     PYTHON: an interpreter with edgefleet installed; ANSIBLE_BIN: the folder of ansible-playbook
#
# Needs root (chroot, mounts), debootstrap, qemu-user-static, binfmt-support, zstd; see docs/boards.md. The bare root is kept
# in .cache/arm64 (141 MB). EDGEFLEET_DEBIAN_MIRROR names another mirror; with EDGEFLEET_ARM64_KEEP=1 a failed run leaves its
# scratch folder there, unmounted. Exit: 0 passed, 1 failed, 77 a tool is missing.
set -euo pipefail
cd "$(dirname "$0")/../../.."
python=$(realpath --no-symlinks "$(command -v "$1")")
ansible=$(realpath --no-symlinks "$2")
here=tests/hardware/arm64
cache=$PWD/.cache/arm64
mirror=${EDGEFLEET_DEBIAN_MIRROR:-http://deb.debian.org/debian}
suite=bookworm
packages=python3,python3-venv,python3-apt,ca-certificates,systemd,systemd-sysv,dbus,udev,kmod

if [ "$(id -u)" != 0 ]; then
    echo "skipped: chroot and mounts need root" >&2
    exit 77
fi
for tool in debootstrap qemu-aarch64-static update-binfmts zstd mountpoint runuser; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is not installed (apt-get install debootstrap qemu-user-static binfmt-support zstd)" >&2
        exit 77
    fi
done

mkdir -p "$cache"
work=$(mktemp -d "$cache/run.XXXXXX")
root=$work/root
started=$SECONDS
binfmt_was_mounted=yes
acceptance=
declare -a times=()

# whatever runs inside the root, by process id; then the mounts, innermost first; then the files
cleanup() {
    status=$?
    trap '' INT TERM
    trap - EXIT
    if [ -n "$acceptance" ] && kill -TERM "$acceptance" 2>/dev/null; then wait "$acceptance" || true; fi
    for link in /proc/[0-9]*/root; do
        pid=${link#/proc/}
        [ "$(readlink "$link" 2>/dev/null)" = "$root" ] && kill -KILL "${pid%/root}" 2>/dev/null
    done
    for _ in 1 2 3 4 5; do
        mounts=$(awk -v root="$work/" 'index($5, root) == 1 {print $5}' /proc/self/mountinfo | tac)
        [ -z "$mounts" ] && break
        for mount in $mounts; do umount "$mount" 2>/dev/null || sleep 1; done
    done
    if [ -n "$mounts" ]; then
        echo "left mounted, so nothing was deleted: $mounts" >&2
        exit 1
    fi
    if [ "$binfmt_was_mounted" = no ]; then umount /proc/sys/fs/binfmt_misc; fi
    if [ "$status" != 0 ] && [ -n "${EDGEFLEET_ARM64_KEEP:-}" ]; then
        echo "kept for a look: $work" >&2
    else
        rm -rf --one-file-system "$work"
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

stage() {
    local name=$1 begun=$SECONDS
    shift
    echo "== $name"
    "$@"
    times+=("$(printf '%5d s  %s' $((SECONDS - begun)) "$name")")
}

register_emulator() {
    if ! mountpoint -q /proc/sys/fs/binfmt_misc; then
        mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
        binfmt_was_mounted=no
    fi
    update-binfmts --enable qemu-aarch64
}

# named after what it is made of, so that a changed recipe makes a new one
archive=$cache/$suite-$(printf '%s %s %s' "$suite" "$packages" "$mirror" | sha256sum | cut -c1-12).tar.zst

build_root() {
    debootstrap --arch=arm64 --variant=minbase --include="$packages" "$suite" "$work/bare" "$mirror" >"$work/debootstrap.log" ||
        { tail -20 "$work/debootstrap.log" >&2; return 1; }
    tar -C "$work/bare" --numeric-owner -cf - . | zstd -q -3 -o "$archive.part"
    mv "$archive.part" "$archive"
    rm -rf --one-file-system "$work/bare"
}

# This host's certificates and name service, a policy that starts no services, and what a Raspberry Pi's image has.
unpack_root() {
    mkdir "$root"
    zstd -q -d -c "$archive" | tar -C "$root" --numeric-owner -xf -
    cp --dereference /etc/resolv.conf /etc/hosts "$root/etc/"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    if [ -e /etc/pip.conf ]; then cp /etc/pip.conf "$root/etc/"; fi
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    mkdir -p "$root/boot/firmware"
    printf '# stock settings\ndtparam=audio=on\n\n[pi5]\ndtoverlay=dwc2\n' >"$root/boot/firmware/config.txt"
}

# Not /sys: together with an x86 /proc/cpuinfo it makes Arm's cpuinfo library crash, and the board has none of its own.
mount_root() {
    mount --bind /proc "$root/proc"
    mount --make-private "$root/proc"
    mount --bind "$here/cpuinfo" "$root/proc/cpuinfo"
    chroot "$root" uname -m
}

build_wheel() {
    "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/dist" ./agent
}

# beside this shell, which would otherwise notice a signal only after its end
accept() {
    "$python" -m tests.hardware.arm64.accept --root "$root" --work "$work" --ansible "$ansible" \
        --wheel "$(echo "$work"/dist/edgefleet_agent-*.whl)" &
    acceptance=$!
    wait "$acceptance"
    acceptance=
}

stage "register the emulator" register_emulator
if [ ! -e "$archive" ]; then stage "build the root ($suite arm64)" build_root; fi
stage "unpack the root" unpack_root
stage "mount" mount_root
stage "build the agent's wheel" build_wheel
stage "provision, enrol, measure" accept
printf '%s\n' "" "How long it took (load $(cut -d' ' -f1 /proc/loadavg)):" "${times[@]}"
printf '%5d s  in all\n' $((SECONDS - started))
