#!/bin/sh
# Runs guest_check.py against a real /dev/i2c-0: Debian's stock kernel in qemu (software emulation), i2c-stub as the bus.
#
#   tests/hardware/linux_i2c/run_guest.sh [PYTHON]     PYTHON: an interpreter with edgefleet_agent and smbus2
#
# Needs apt-get (Debian or Ubuntu), qemu-system-x86_64, cpio and modprobe; no root. The kernel (70 MB) is fetched once
# into $EDGEFLEET_GUEST_CACHE (default ~/.cache/edgefleet-guest). Exit: 0 passed, 1 failed, 77 a tool is missing.
set -eu

python=$(command -v "${1:-python3}")
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") # absolute, but not resolved: a venv is a link
here=$(cd "$(dirname "$0")" && pwd)
cache=${EDGEFLEET_GUEST_CACHE:-$HOME/.cache/edgefleet-guest}
wanted="virtio_pci 9p 9pnet_virtio i2c-dev i2c-stub ina2xx-adc"

for tool in apt-get dpkg-deb qemu-system-x86_64 cpio modprobe; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is not installed" >&2
        exit 77
    fi
done

# the archive moves on, so the version is asked for and never written down
package=$(apt-cache depends linux-image-amd64 | awk '/Depends:/ {print $2; exit}')
version=${package#linux-image-}
mkdir -p "$cache"
if [ ! -e "$cache/$version/boot/vmlinuz-$version" ]; then
    cd "$cache"
    apt-get download -q "$package" busybox-static
    for file in *.deb; do dpkg-deb -x "$file" "$version"; done
    rm -f ./*.deb
    depmod -b "$cache/$version" "$version"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/bin" "$root/m" "$root/proc" "$root/sys" "$root/dev" "$root/host"
cp "$cache/$version/bin/busybox" "$root/bin/"
for module in $wanted; do
    modprobe -d "$cache/$version" -S "$version" --show-depends "$module" | awk '$1 == "insmod" {print $2}'
done | awk '!seen[$0]++' >"$work/order"
while read -r module; do
    cp "$module" "$root/m/"
    basename "$module"
done <"$work/order" >"$root/m/order"

cat >"$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
while read -r name; do
    case \$name in i2c-stub.ko*) options=chip_addr=0x40,0x41,0x42,0x43 ;; *) options= ;; esac
    /bin/busybox insmod /m/\$name \$options
done </m/order
/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose host /host
for folder in proc sys dev; do /bin/busybox mount --bind /\$folder /host/\$folder; done
/bin/busybox mount -t tmpfs tmpfs /host/tmp
/bin/busybox chroot /host /usr/bin/env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here/../../../agent" "$python" "$here/guest_check.py"
echo "guest check ended with \$?"
/bin/busybox poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd.gz"

timeout 300 qemu-system-x86_64 -M pc -accel tcg -m 768 -display none -no-reboot -nic none \
    -serial "file:$work/console.log" -kernel "$cache/$version/boot/vmlinuz-$version" -initrd "$work/initrd.gz" \
    -virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap" \
    -append "console=ttyS0 quiet panic=-1" || true
tr -d '\r' <"$work/console.log"
grep -q "guest check ended with 0" "$work/console.log"
