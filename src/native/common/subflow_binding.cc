// SPDX-License-Identifier: BSD-2-Clause
// subflow.h for JavaScript.
#include "descriptors.h"
#include "sockets_binding.h"

namespace amptcp {

Napi::Array SubflowsToArray(Napi::Env env, const struct am_subflow *subflows, int count)
{
	Napi::Array array = Napi::Array::New(env, count);
	for (int i = 0; i < count; i++) {
		const struct am_subflow &s = subflows[i];
		char text[64];
		uint16_t port;
		Napi::Object item = Napi::Object::New(env);
		item.Set("id", s.id);
		am_address_format(&s.local, text, &port);
		item.Set("localAddress", text);
		item.Set("localPort", port);
		am_address_format(&s.remote, text, &port);
		item.Set("remoteAddress", text);
		item.Set("remotePort", port);
		item.Set("bytesSent", static_cast<double>(s.bytes_sent));
		item.Set("bytesReceived", static_cast<double>(s.bytes_received));
		item.Set("retransmits", s.retransmits);
		item.Set("rttMs", s.rtt_us / 1000.0);
		item.Set("congestionWindow", s.congestion_window);
		item.Set("state", s.state);
		array.Set(i, item);
	}
	return array;
}

} // namespace amptcp
