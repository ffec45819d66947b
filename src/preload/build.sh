#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Builds libmptcp_preload.so for FreeBSD, in a port and from another system:
#
#	build.sh OUTPUT		CC, CFLAGS and LDFLAGS as make(1) and ports set them
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck disable=SC2086 -- lists of flags
exec ${CC:-cc} ${CFLAGS:--O2} -Wall -Wextra -Werror -fPIC -shared -Wl,-soname,libmptcp_preload.so -o "$1" "$here/mptcp_preload.c" \
    ${LDFLAGS:-}
