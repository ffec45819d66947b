// SPDX-License-Identifier: BSD-2-Clause
#ifndef AMPTCP_CONNECTING_H
#define AMPTCP_CONNECTING_H

/*
 * What the bindings of connectors share: options in, the outcome of connects out. `Options` is the am_socket_options of one
 * of them.
 */
#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "descriptors.h"
#include "event_queue.h"

namespace amptcp {

struct Connected {
	int fd;
	int error;
};

inline void DeliverConnected(Napi::Env env, Napi::Function callback, std::vector<Connected> &batch)
{
	Napi::Array array = Napi::Array::New(env, batch.size());
	for (size_t i = 0; i < batch.size(); i++) {
		Napi::Object item = Napi::Object::New(env);
		item.Set("descriptor", batch[i].fd);
		if (batch[i].error != 0)
			item.Set("error", am_errno_name(batch[i].error));
		array.Set(static_cast<uint32_t>(i), item);
	}
	callback.Call({ array });
}

/* Returns the length; `port` may be undefined. */
inline socklen_t ToSocketAddress(Napi::Value address, Napi::Value port, const char *what, struct sockaddr_storage *out)
{
	std::string text = address.As<Napi::String>();
	uint16_t number = port.IsNumber() ? static_cast<uint16_t>(port.As<Napi::Number>().Uint32Value()) : 0;
	int length = am_address_parse(text.c_str(), number, out);
	if (length < 0)
		throw SystemError(address.Env(), what, -length);
	return static_cast<socklen_t>(length);
}

/* Those every connector has. */
template <typename Options> void ReadSocketOptions(Napi::Object from, Options *o)
{
	Napi::Env env = from.Env();
	struct sockaddr_storage remote;
	ToSocketAddress(from.Get("address"), env.Undefined(), "remote address", &remote);
	o->family = remote.ss_family;
	o->transparent = from.Get("transparent").ToBoolean();
	if (from.Get("congestionControl").IsString())
		snprintf(o->congestion_control, sizeof(o->congestion_control), "%s",
		    from.Get("congestionControl").As<Napi::String>().Utf8Value().c_str());
	if (!from.Get("localAddress").IsString())
		return;
	o->local_length = ToSocketAddress(from.Get("localAddress"), from.Get("localPort"), "local address", &o->local);
	if (o->local.ss_family != remote.ss_family)
		throw SystemError(env, "local address", EINVAL);
}

/* `fd`: of am_connect_prepare(), or -errno. */
inline Napi::Object PreparedSocket(Napi::Env env, int fd, const struct sockaddr_storage &bound)
{
	if (fd < 0)
		throw SystemError(env, "preparing a socket", -fd);
	char text[64];
	uint16_t port;
	am_address_format(&bound, text, &port);
	Napi::Object result = Napi::Object::New(env);
	result.Set("descriptor", fd);
	result.Set("localAddress", text);
	result.Set("localPort", port);
	return result;
}

/* connect(descriptor, address, port, timeoutMs), by am_connect_begin(). */
template <typename Begin> int ConnectSocket(const Napi::CallbackInfo &info, Begin begin)
{
	struct sockaddr_storage remote;
	socklen_t length = ToSocketAddress(info[1], info[2], "remote address", &remote);
	int result = begin(info[0].As<Napi::Number>().Int32Value(), reinterpret_cast<struct sockaddr *>(&remote), length,
	    info[3].As<Napi::Number>().Uint32Value());
	if (result < 0)
		throw SystemError(info.Env(), "connect", -result);
	return result;
}

} // namespace amptcp

#endif
