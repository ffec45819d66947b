# SPDX-License-Identifier: BSD-2-Clause
#
# What a build of the modules needs to be told where the host is no FreeBSD. Usage:
#
#	bmake -C kmod -m /path/to/src/share/mk SYSDIR=/path/to/src/sys
#
# CLANG, LLD and LLVM_SUFFIX choose the tools (clang, ld.lld and llvm-*); gawk or FreeBSD's awk is needed.

.if ${.MAKE.OS} != "FreeBSD"
.if !defined(SYSDIR)
.error SYSDIR must name the kernel's source directory (src/sys)
.endif
SRCTOP?=	${SYSDIR:H}
MACHINE=	amd64
MACHINE_CPUARCH=amd64
MACHINE_ARCH=	amd64
TARGET_OS_RELEASE!=	awk '$$1 == "\#define" && $$2 == "__FreeBSD_version" { printf "%d.%d", $$3 / 100000, $$3 / 1000 % 100 }' \
		${SYSDIR}/sys/param.h
LLVM_SUFFIX?=
CLANG?=		clang${LLVM_SUFFIX}
LLD?=		ld.lld${LLVM_SUFFIX}
CC=		${CLANG} --target=x86_64-unknown-freebsd${TARGET_OS_RELEASE}
LD=		${LLD}
NM=		llvm-nm${LLVM_SUFFIX}
OBJCOPY=	llvm-objcopy${LLVM_SUFFIX}
AWK=		gawk
COMPILER_TYPE=	clang
X_COMPILER_TYPE=clang
MK_AUTO_OBJ=	no
MK_CTF=		no
MK_DEBUG_FILES=	no
# The step that hides symbols needs FreeBSD's xargs.
EXPORT_SYMS=	YES
.export SYSDIR SRCTOP LLVM_SUFFIX CLANG LLD
.endif
