#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Builds the addon for FreeBSD without node-gyp: in a port, and from another system to see that it compiles and links.
#
#	build.sh OUTPUT		CC, CXX, CFLAGS, CXXFLAGS, LDFLAGS as make(1) and ports set them
set -eu
output=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
cd "$here/.."

defines="-DNAPI_VERSION=8 -DNODE_ADDON_API_DISABLE_DEPRECATED"
warn="-Wall -Wextra -Wno-unused-parameter -Werror"
common="-fPIC -fvisibility=hidden -O2 $defines $warn"
includes="-I../../kmod/core -I../../kmod/lisp -I../../kmod/mptcp -I../../kmod/tproxy -Icommon -Ifreebsd"
# The root may have blanks in its path: given as arguments, one each.
set -- -I"$root/node_modules/node-addon-api" -I"$root/node_modules/node-api-headers/include"

n=0
for source in common/*.c freebsd/*.c ../../kmod/core/lisp_*.c; do
	n=$((n + 1))
	${CC:-cc} -std=c11 ${CFLAGS:-} $common $includes "$@" -c "$source" -o "$objects/$n.o"
done
for source in common/*.cc freebsd/*.cc; do
	n=$((n + 1))
	${CXX:-c++} -std=c++17 ${CXXFLAGS:-} $common $includes "$@" -c "$source" -o "$objects/$n.o"
done
${CXX:-c++} ${CXXFLAGS:-} -shared -o "$output" "$objects"/*.o ${LDFLAGS:-} -lpthread
