# SPDX-License-Identifier: BSD-2-Clause
#
# What every module's Makefile ends with, once it has named KMOD, SRCS and MAN.

MODULE_COMMON:=	${.PARSEDIR}
.include "${MODULE_COMMON}/../cross.mk"

.PATH:	${MODULE_COMMON}
SRCS+=	modctl.c opt_inet.h opt_inet6.h
CFLAGS+=-I${MODULE_COMMON} -I${.CURDIR} -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
WARNS?=	6

.include <bsd.kmod.mk>
