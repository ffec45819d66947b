// SPDX-License-Identifier: BSD-2-Clause
// mptcpctl.c for JavaScript: one object per descriptor of /dev/mptcp. Nothing is decided here.
#include <cerrno>
#include <cstring>
#include <string>

#include "control_binding.h"
#include "descriptors.h"
#include "mptcpctl.h"
#include "sockets_binding.h"
#include "watcher.h"

namespace amptcp {
namespace {

constexpr size_t EVENTS_AT_ONCE = 64;

struct mptcp_ioc_addr ToEndpoint(Napi::Value value)
{
	Napi::Object endpoint = value.As<Napi::Object>();
	uint16_t port = ToPort(endpoint.Get("port"));
	return ReadAddress<struct mptcp_ioc_addr>(endpoint.Get("address"),
	    [port](const char *text, struct mptcp_ioc_addr *address) { return mptcpctl_parse(text, port, address); });
}

std::string Text(const struct mptcp_ioc_addr &address)
{
	struct sockaddr_storage storage;
	char text[64] = "";
	uint16_t port;
	if (mptcpctl_to_sockaddr(&address, &storage) != 0)
		am_address_format(&storage, text, &port);
	return text;
}

Napi::Object EndpointObject(Napi::Env env, const struct mptcp_ioc_addr &address)
{
	Napi::Object endpoint = Napi::Object::New(env);
	endpoint.Set("address", Text(address));
	endpoint.Set("port", address.ma_port);
	return endpoint;
}

template <size_t N> const char *Name(const char *const (&names)[N], size_t number)
{
	return names[number < N ? number : N - 1];
}

Napi::Object SubflowObject(Napi::Env env, const struct mptcp_subflow_info &from)
{
	static const char *const states[] = { "joining", "established", "closed" };
	Napi::Object to = Napi::Object::New(env);
	to.Set("id", from.id);
	to.Set("state", Name(states, from.state));
	to.Set("localAddress", Text(from.local));
	to.Set("localPort", from.local.ma_port);
	to.Set("remoteAddress", Text(from.remote));
	to.Set("remotePort", from.remote.ma_port);
	to.Set("backup", (from.flags & MPTCP_FLAG_BACKUP) != 0);
	to.Set("bytesSent", static_cast<double>(from.octets_sent));
	to.Set("bytesReceived", static_cast<double>(from.octets_received));
	to.Set("retransmits", from.retransmits);
	to.Set("rttMs", from.srtt_us / 1000.0);
	to.Set("congestionWindow", from.mss == 0 ? 0 : from.cwnd / from.mss);
	return to;
}

Napi::Object ConnectionObject(Napi::Env env, const struct mptcp_info &from)
{
	static const char *const states[] = { "initial", "established", "fallback", "closed" };
	Napi::Object to = Napi::Object::New(env);
	to.Set("state", Name(states, from.state));
	to.Set("token", from.local_token);
	to.Set("subflows", WriteList(env, from.subflow, from.subflows < MPTCP_ABI_SUBFLOWS ? from.subflows : MPTCP_ABI_SUBFLOWS,
	    SubflowObject));
	return to;
}

/* Types as the ABI numbers them, from 1. */
Napi::Object EventObject(Napi::Env env, const struct mptcp_event &from)
{
	static const char *const types[] = { "created", "established", "fallback", "closed", "announced", "removed", "subflow-up",
		"subflow-down", "subflow-priority", "unknown" };
	Napi::Object to = Napi::Object::New(env);
	to.Set("type", Name(types, static_cast<size_t>(from.ev_type) - 1));
	to.Set("token", from.ev_token);
	to.Set("id", from.ev_id);
	to.Set("local", EndpointObject(env, from.ev_local));
	to.Set("remote", EndpointObject(env, from.ev_remote));
	to.Set("addressId", from.ev_address_id);
	to.Set("backup", (from.ev_flags & MPTCP_FLAG_PEER_BACKUP) != 0);
	if (from.ev_error != 0)
		to.Set("error", am_errno_name(from.ev_error));
	to.Set("lost", from.ev_lost);
	return to;
}

class Control : public Napi::ObjectWrap<Control> {
public:
	static Napi::Function Define(Napi::Env env)
	{
		return DefineClass(env, "MptcpControl", {
			InstanceMethod("state", &Control::State),
			InstanceMethod("connection", &Control::Connection),
			InstanceMethod("addSubflow", &Control::AddSubflow),
			InstanceMethod("removeSubflow", &Control::RemoveSubflow),
			InstanceMethod("setBackup", &Control::SetBackup),
			InstanceMethod("events", &Control::Events),
			InstanceMethod("close", &Control::Close),
		});
	}

	explicit Control(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Control>(info)
	{
		Napi::Env env = info.Env();
		Check(env, mptcpctl_adopt(&control_, info[0].As<Napi::Number>().Int32Value()), "mptcp(4) descriptor");
		try {
			SetNonBlocking(env, control_.fd);
			watcher_ = Watcher::Start(env, control_.fd, info[1]);
		} catch (const Napi::Error &) {
			mptcpctl_close(&control_);
			throw;
		}
	}

	~Control() override { LetGo(); }

private:
	const struct mptcpctl *Open(Napi::Env env)
	{
		if (control_.fd < 0)
			throw SystemError(env, "/dev/mptcp is closed", EBADF);
		return &control_;
	}

	Napi::Value State(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		struct mptcp_ioc_state state;
		Check(env, mptcpctl_state(Open(env), &state), "state of mptcp(4)");
		Napi::Object to = Napi::Object::New(env);
		to.Set("enabled", state.st_enabled != 0);
		to.Set("connections", state.st_connections);
		to.Set("sockets", state.st_sockets);
		return to;
	}

	Napi::Value Connection(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		struct mptcp_info connection;
		int error = mptcpctl_info(Open(env), Number(info[0]), &connection);
		if (error == ENOENT)
			return env.Undefined();
		Check(env, error, "an MPTCP connection");
		return ConnectionObject(env, connection);
	}

	Napi::Value AddSubflow(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		struct mptcp_ioc_subflow subflow;
		memset(&subflow, 0, sizeof(subflow));
		subflow.ms_token = Number(info[0]);
		subflow.ms_local = ToEndpoint(info[1]);
		subflow.ms_remote = ToEndpoint(info[2]);
		subflow.ms_flags = info[3].ToBoolean() ? MPTCP_FLAG_BACKUP : 0;
		subflow.ms_fib = MPTCP_FIB_SAME;
		Check(env, mptcpctl_subflow_add(Open(env), &subflow), "adding a subflow");
		return Napi::Number::New(env, subflow.ms_id);
	}

	Napi::Value RemoveSubflow(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		return WasThere(env, mptcpctl_subflow_remove(Open(env), Number(info[0]), Number(info[1]), false), "removing a subflow");
	}

	Napi::Value SetBackup(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		return WasThere(env, mptcpctl_subflow_priority(Open(env), Number(info[0]), Number(info[1]), info[2].ToBoolean()),
		    "a subflow's priority");
	}

	Napi::Value Events(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		struct mptcp_event events[EVENTS_AT_ONCE];
		size_t count = 0;
		if (control_.fd >= 0)
			Check(env, mptcpctl_events(&control_, events, EVENTS_AT_ONCE, &count), "events of /dev/mptcp");
		return WriteList(env, events, count, EventObject);
	}

	void Close(const Napi::CallbackInfo &) { LetGo(); }

	void LetGo()
	{
		Watcher::Stop(watcher_);
		watcher_ = nullptr;
		if (control_.fd >= 0)
			mptcpctl_close(&control_);
		control_.fd = -1;
	}

	Watcher *watcher_ = nullptr;
	struct mptcpctl control_ = { -1 };
};

Napi::Value Socket(const Napi::CallbackInfo &info)
{
	struct mptcp_info connection;
	if (mptcpctl_socket(info[0].As<Napi::Number>().Int32Value(), &connection) != 0)
		return info.Env().Undefined();
	return ConnectionObject(info.Env(), connection);
}

} // namespace

void InitMptcpControl(Napi::Env env, Napi::Object exports)
{
	Napi::Object part = Napi::Object::New(env);
	part.Set("Control", Control::Define(env));
	part.Set("socket", Napi::Function::New(env, Socket));
	exports.Set("mptcpControl", part);
}

} // namespace amptcp
