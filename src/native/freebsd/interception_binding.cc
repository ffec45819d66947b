// SPDX-License-Identifier: BSD-2-Clause
// divert.c and tproxyctl.c for JavaScript: SYNs come as events, what becomes of them goes back as calls.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "anchor.h"
#include "control_binding.h"
#include "descriptors.h"
#include "divert.h"
#include "sockets_binding.h"
#include "tproxyctl.h"
#include "watcher.h"

namespace amptcp {
namespace {

/* Of one turn: a flood of SYNs must not keep the loop. */
constexpr int SYNS_AT_ONCE = 256;
constexpr size_t EVENTS_AT_ONCE = 64;

struct tproxy_ioc_addr ToAddress(Napi::Value value, uint16_t port)
{
	return ReadAddress<struct tproxy_ioc_addr>(value,
	    [port](const char *text, struct tproxy_ioc_addr *address) { return tproxyctl_parse(text, port, address); });
}

struct tproxy_ioc_addr ToEndpoint(Napi::Value value)
{
	Napi::Object endpoint = value.As<Napi::Object>();
	return ToAddress(endpoint.Get("address"), ToPort(endpoint.Get("port")));
}

struct tproxy_ioc_rule ToRule(Napi::Value value)
{
	Napi::Object from = value.As<Napi::Object>();
	struct tproxy_ioc_rule rule;
	memset(&rule, 0, sizeof(rule));
	rule.ru_destination = ToAddress(from.Get("prefix"), 0);
	rule.ru_port_low = ToPort(from.Get("from"));
	rule.ru_port_high = ToPort(from.Get("to"));
	rule.ru_action = from.Get("capture").ToBoolean() ? TPROXY_RULE_CAPTURE : TPROXY_RULE_PASS;
	strlcpy(rule.ru_ifname, from.Get("interface").As<Napi::String>().Utf8Value().c_str(), sizeof(rule.ru_ifname));
	return rule;
}

struct tproxy_ioc_flow ToFlow(Napi::Value client, Napi::Value destination)
{
	struct tproxy_ioc_flow flow;
	memset(&flow, 0, sizeof(flow));
	flow.tf_client = ToEndpoint(client);
	flow.tf_destination = ToEndpoint(destination);
	return flow;
}

Napi::Object EndpointObject(Napi::Env env, const struct sockaddr_storage &address)
{
	char text[64];
	uint16_t port;
	am_address_format(&address, text, &port);
	Napi::Object endpoint = Napi::Object::New(env);
	endpoint.Set("address", text);
	endpoint.Set("port", port);
	return endpoint;
}

Napi::Object EndpointObject(Napi::Env env, const struct tproxy_ioc_addr &address)
{
	struct sockaddr_storage socket_address;
	tproxyctl_to_sockaddr(&address, &socket_address);
	return EndpointObject(env, socket_address);
}

Napi::Object EndpointObject(Napi::Env env, const struct sockaddr_in &address)
{
	struct sockaddr_storage storage = {};
	memcpy(&storage, &address, sizeof(address));
	return EndpointObject(env, storage);
}

/* A SYN that tproxy(4) holds. */
Napi::Object SynObject(Napi::Env env, const struct tproxy_event &event)
{
	Napi::Object item = Napi::Object::New(env);
	item.Set("id", static_cast<double>(event.ev_id));
	item.Set("client", EndpointObject(env, event.ev_flow.tf_client));
	item.Set("destination", EndpointObject(env, event.ev_flow.tf_destination));
	item.Set("joins", divert_joins(event.ev_snapshot, event.ev_snapshot_length));
	return item;
}

class Divert : public Napi::ObjectWrap<Divert> {
public:
	static Napi::Function Define(Napi::Env env)
	{
		return DefineClass(env, "Divert", {
			InstanceMethod("receive", &Divert::Receive),
			InstanceMethod("inject", &Divert::Inject),
			InstanceMethod("refuse", &Divert::Refuse),
			InstanceMethod("unreachable", &Divert::Unreachable),
			InstanceMethod("close", &Divert::Close),
		});
	}

	explicit Divert(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Divert>(info)
	{
		fd_ = info[0].As<Napi::Number>().Int32Value();
		watcher_ = Watcher::Start(info.Env(), fd_, info[1]);
	}

	~Divert() override { Release(); }

private:
	Napi::Value Receive(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		Napi::Array syns = Napi::Array::New(env);
		uint32_t count = 0;
		for (int i = 0; fd_ >= 0 && i < SYNS_AT_ONCE; i++) {
			struct divert_packet packet;
			struct divert_syn syn;
			int error = divert_receive(fd_, &packet);
			if (error == EMSGSIZE)
				continue;
			if (error != 0)
				break;
			/* Not ours to hold: it goes on. */
			if (!divert_parse(&packet, &syn)) {
				divert_inject(fd_, &packet);
				continue;
			}
			Napi::Object item = Napi::Object::New(env);
			item.Set("packet", Napi::Buffer<char>::Copy(env, reinterpret_cast<char *>(&packet),
						offsetof(struct divert_packet, octets) + packet.length));
			item.Set("client", EndpointObject(env, syn.client));
			item.Set("destination", EndpointObject(env, syn.destination));
			item.Set("sequence", static_cast<double>(syn.sequence));
			item.Set("joins", syn.joins);
			syns.Set(count++, item);
		}
		return syns;
	}

	struct divert_packet Packet(const Napi::CallbackInfo &info)
	{
		Napi::Uint8Array octets = info[0].As<Napi::Uint8Array>();
		struct divert_packet packet = {};
		if (fd_ < 0)
			throw SystemError(info.Env(), "the divert socket is closed", EBADF);
		if (octets.ByteLength() < offsetof(struct divert_packet, octets) || octets.ByteLength() > sizeof(packet))
			throw SystemError(info.Env(), "a packet", EINVAL);
		memcpy(&packet, octets.Data(), octets.ByteLength());
		if (packet.length != octets.ByteLength() - offsetof(struct divert_packet, octets))
			throw SystemError(info.Env(), "a packet", EINVAL);
		return packet;
	}

	void Inject(const Napi::CallbackInfo &info)
	{
		struct divert_packet packet = Packet(info);
		Check(info.Env(), divert_inject(fd_, &packet), "re-injecting a SYN");
	}

	void Refuse(const Napi::CallbackInfo &info)
	{
		struct divert_packet packet = Packet(info);
		Check(info.Env(), divert_refuse(fd_, &packet), "refusing a connection");
	}

	void Unreachable(const Napi::CallbackInfo &info)
	{
		struct divert_packet packet = Packet(info);
		Check(info.Env(), divert_unreachable(fd_, &packet, static_cast<uint8_t>(info[1].As<Napi::Number>().Uint32Value())),
		    "answering a SYN by ICMP");
	}

	void Close(const Napi::CallbackInfo &) { Release(); }

	void Release()
	{
		Watcher::Stop(watcher_);
		watcher_ = nullptr;
		if (fd_ >= 0)
			close(fd_);
		fd_ = -1;
	}

	Watcher *watcher_ = nullptr;
	int fd_ = -1;
};

class Tproxy : public Napi::ObjectWrap<Tproxy> {
public:
	static Napi::Function Define(Napi::Env env)
	{
		return DefineClass(env, "Tproxy", {
			InstanceMethod("register", &Tproxy::Register),
			InstanceMethod("unregister", &Tproxy::Unregister),
			InstanceMethod("capture", &Tproxy::Capture),
			InstanceMethod("events", &Tproxy::Events),
			InstanceMethod("release", &Tproxy::Release),
			InstanceMethod("close", &Tproxy::Close),
		});
	}

	explicit Tproxy(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Tproxy>(info)
	{
		Napi::Env env = info.Env();
		Check(env, tproxyctl_adopt(&control_, info[0].As<Napi::Number>().Int32Value()), "tproxy(4) descriptor");
		try {
			SetNonBlocking(env, control_.fd);
			watcher_ = Watcher::Start(env, control_.fd, info[1]);
		} catch (const Napi::Error &) {
			tproxyctl_close(&control_);
			throw;
		}
	}

	~Tproxy() override { LetGo(); }

private:
	const struct tproxyctl *Open(Napi::Env env)
	{
		if (control_.fd < 0)
			throw SystemError(env, "/dev/tproxy is closed", EBADF);
		return &control_;
	}

	void Register(const Napi::CallbackInfo &info)
	{
		struct tproxy_ioc_flow flow = ToFlow(info[0], info[1]);
		struct tproxy_ioc_addr listener = ToEndpoint(info[2]);
		Check(info.Env(), tproxyctl_register(Open(info.Env()), &flow, &listener), "registering a flow");
	}

	Napi::Value Unregister(const Napi::CallbackInfo &info)
	{
		struct tproxy_ioc_flow flow = ToFlow(info[0], info[1]);
		return WasThere(info.Env(), tproxyctl_unregister(Open(info.Env()), &flow), "unregistering a flow");
	}

	void Capture(const Napi::CallbackInfo &info)
	{
		std::vector<struct tproxy_ioc_rule> rules = ReadList(info[0], ToRule);
		uint32_t hold_ms = info[1].ToNumber().Uint32Value();
		Check(info.Env(), tproxyctl_capture(Open(info.Env()), rules.data(), rules.size(), hold_ms), "rules of /dev/tproxy");
	}

	Napi::Value Events(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		struct tproxy_event events[EVENTS_AT_ONCE];
		size_t count = 0;
		if (control_.fd >= 0)
			Check(env, tproxyctl_events(&control_, events, EVENTS_AT_ONCE, &count), "events of /dev/tproxy");
		return WriteList(env, events, count, SynObject);
	}

	/* False: it is not held any more. */
	Napi::Value Release(const Napi::CallbackInfo &info)
	{
		static const char *const actions[] = { "inject", "refuse", "unreachable", "drop" };
		static const uint32_t codes[] = { TPROXY_RELEASE_INJECT, TPROXY_RELEASE_REFUSE, TPROXY_RELEASE_UNREACHABLE,
			TPROXY_RELEASE_DROP };
		std::string wanted = info[1].As<Napi::String>();
		for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
			if (wanted != actions[i])
				continue;
			return WasThere(info.Env(),
			    tproxyctl_release(Open(info.Env()), static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()), codes[i]),
			    "releasing a SYN");
		}
		throw SystemError(info.Env(), "what to do with a SYN", EINVAL);
	}

	void Close(const Napi::CallbackInfo &) { LetGo(); }

	void LetGo()
	{
		Watcher::Stop(watcher_);
		watcher_ = nullptr;
		if (control_.fd >= 0)
			tproxyctl_close(&control_);
		control_.fd = -1;
	}

	Watcher *watcher_ = nullptr;
	struct tproxyctl control_ = { -1 };
};

Napi::Value OpenDivert(const Napi::CallbackInfo &info)
{
	int fd;
	Check(info.Env(), divert_open(ToPort(info[0]),
			      static_cast<int>(info[1].As<Napi::Number>().Int32Value()), &fd),
	    "opening a divert(4) socket");
	return Napi::Number::New(info.Env(), fd);
}

Napi::Value OpenDevice(const Napi::CallbackInfo &info)
{
	std::string path = info[0].As<Napi::String>();
	int fd = open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		throw SystemError(info.Env(), path.c_str(), errno);
	return Napi::Number::New(info.Env(), fd);
}

void FlushAnchor(const Napi::CallbackInfo &info)
{
	std::string anchor = info[1].As<Napi::String>();
	Check(info.Env(), anchor_flush(info[0].As<Napi::Number>().Int32Value(), anchor.c_str()), "emptying an anchor of pf");
}

} // namespace

void InitInterception(Napi::Env env, Napi::Object exports)
{
	Napi::Object part = Napi::Object::New(env);
	part.Set("Divert", Divert::Define(env));
	part.Set("Tproxy", Tproxy::Define(env));
	part.Set("openDivert", Napi::Function::New(env, OpenDivert));
	part.Set("openDevice", Napi::Function::New(env, OpenDevice));
	part.Set("flushAnchor", Napi::Function::New(env, FlushAnchor));
	exports.Set("interception", part);
}

} // namespace amptcp
