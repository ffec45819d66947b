// SPDX-License-Identifier: BSD-2-Clause
// plane_core.c (and, on Linux, plane.c) for JavaScript: one object per data plane. Arguments have been checked by TypeScript; here
// they are only turned into values, and what is no address is refused all the same.
#include "plane_binding.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "event_queue.h"
#include "plane_core.h"
#ifdef __linux__
#include "../linux/plane.h"
#endif

namespace amptcp {
namespace {

struct lisp_addr ToAddr(Napi::Env env, const std::string &text)
{
	uint8_t bytes[16];
	if (inet_pton(AF_INET, text.c_str(), bytes) == 1)
		return lisp_addr_v4(bytes);
	if (inet_pton(AF_INET6, text.c_str(), bytes) == 1)
		return lisp_addr_v6(bytes);
	throw SystemError(env, ("no address: " + text).c_str(), EINVAL);
}

struct lisp_addr ToAddr(Napi::Value value)
{
	return ToAddr(value.Env(), value.As<Napi::String>().Utf8Value());
}

struct lisp_prefix ToPrefix(Napi::Value value)
{
	std::string text = value.As<Napi::String>().Utf8Value();
	size_t slash = text.find('/');
	struct lisp_prefix prefix;
	memset(&prefix, 0, sizeof(prefix));
	prefix.addr = ToAddr(value.Env(), text.substr(0, slash));
	unsigned bits = lisp_addr_size(prefix.addr.af) * 8, length = bits;
	if (slash != std::string::npos) {
		std::string digits = text.substr(slash + 1);
		if (digits.empty() || digits.size() > 3 || digits.find_first_not_of("0123456789") != std::string::npos ||
		    (length = static_cast<unsigned>(std::stoul(digits))) > bits)
			throw SystemError(value.Env(), ("no prefix: " + text).c_str(), EINVAL);
	}
	prefix.len = static_cast<uint8_t>(length);
	lisp_prefix_mask(&prefix);
	return prefix;
}

std::string Text(const struct lisp_addr &addr)
{
	char text[INET6_ADDRSTRLEN] = "";
	inet_ntop(addr.af == LISP_AF_V4 ? AF_INET : AF_INET6, addr.bytes, text, sizeof(text));
	return text;
}

std::string Text(const struct lisp_prefix &prefix)
{
	return Text(prefix.addr) + "/" + std::to_string(prefix.len);
}

uint32_t Number(Napi::Value value)
{
	return value.As<Napi::Number>().Uint32Value();
}

Napi::Object PathObject(Napi::Env env, const struct lisp_path &path)
{
	Napi::Object object = Napi::Object::New(env);
	object.Set("local", Text(path.local));
	object.Set("remote", Text(path.remote));
	return object;
}

struct lisp_path ToPath(Napi::Value value)
{
	Napi::Object object = value.As<Napi::Object>();
	struct lisp_path path;
	memset(&path, 0, sizeof(path));
	path.local = ToAddr(object.Get("local"));
	path.remote = ToAddr(object.Get("remote"));
	return path;
}

Napi::Object EndpointObject(Napi::Env env, const struct lisp_addr &addr, uint16_t port)
{
	Napi::Object object = Napi::Object::New(env);
	object.Set("address", Text(addr));
	object.Set("port", port);
	return object;
}

/* A flow as the platform's interface knows it: local is the source of what is encapsulated. */
Napi::Object FlowObject(Napi::Env env, const struct lisp_flow &flow)
{
	Napi::Object object = Napi::Object::New(env);
	object.Set("local", EndpointObject(env, flow.src, flow.sport));
	object.Set("remote", EndpointObject(env, flow.dst, flow.dport));
	return object;
}

struct lisp_flow ToFlow(Napi::Value value, uint32_t iid)
{
	Napi::Object object = value.As<Napi::Object>(), local = object.Get("local").As<Napi::Object>(),
		     remote = object.Get("remote").As<Napi::Object>();
	struct lisp_flow flow;
	memset(&flow, 0, sizeof(flow));
	flow.iid = iid;
	flow.proto = 6;
	flow.src = ToAddr(local.Get("address"));
	flow.dst = ToAddr(remote.Get("address"));
	flow.sport = static_cast<uint16_t>(Number(local.Get("port")));
	flow.dport = static_cast<uint16_t>(Number(remote.Get("port")));
	return flow;
}

Napi::Object PinObject(Napi::Env env, const struct lisp_flow &flow, const struct lisp_path &path, bool gleaned)
{
	Napi::Object object = Napi::Object::New(env);
	object.Set("flow", FlowObject(env, flow));
	object.Set("protocol", flow.proto);
	object.Set("iid", flow.iid);
	object.Set("path", PathObject(env, path));
	object.Set("gleaned", gleaned);
	return object;
}

std::vector<struct lisp_prefix> ToPrefixes(Napi::Value value)
{
	Napi::Array array = value.As<Napi::Array>();
	std::vector<struct lisp_prefix> prefixes;
	for (uint32_t i = 0; i < array.Length(); i++)
		prefixes.push_back(ToPrefix(array.Get(i)));
	return prefixes;
}

class Plane : public Napi::ObjectWrap<Plane> {
public:
	static Napi::Function Define(Napi::Env env)
	{
		return DefineClass(env, "Plane", {
			InstanceMethod("setSite", &Plane::SetSite),
			InstanceMethod("setMapping", &Plane::SetMapping),
			InstanceMethod("deleteMapping", &Plane::DeleteMapping),
			InstanceMethod("listMappings", &Plane::ListMappings),
			InstanceMethod("setPathState", &Plane::SetPathState),
			InstanceMethod("pin", &Plane::Pin),
			InstanceMethod("unpin", &Plane::Unpin),
			InstanceMethod("listPins", &Plane::ListPins),
			InstanceMethod("paths", &Plane::Paths),
			InstanceMethod("stats", &Plane::Stats),
			InstanceMethod("events", &Plane::Events),
			InstanceMethod("encapsulate", &Plane::Encapsulate),
			InstanceMethod("decapsulate", &Plane::Decapsulate),
			InstanceMethod("released", &Plane::Released),
			InstanceMethod("housekeeping", &Plane::Housekeeping),
			InstanceMethod("startDevice", &Plane::StartDevice),
			InstanceMethod("stop", &Plane::Stop),
		});
	}

	/* (iid, wake?): `wake` is called, on JavaScript's thread, when there are events to take. */
	explicit Plane(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Plane>(info)
	{
		bool wakes = info[1].IsFunction();
		core_ = am_core_new(Number(info[0]), wakes ? Notify : nullptr, this);
		if (core_ == nullptr)
			throw SystemError(info.Env(), "making the data plane", ENOMEM);
		if (wakes) {
			wake_ = Napi::ThreadSafeFunction::New(info.Env(), info[1].As<Napi::Function>(), "amptcp plane", 0, 1);
			wake_.Unref(info.Env());
			wakes_ = true;
		}
	}

	~Plane() override
	{
		Close();
		am_core_free(core_);
	}

private:
	static void Notify(void *context)
	{
		Plane *self = static_cast<Plane *>(context);
		self->wake_.NonBlockingCall([](Napi::Env env, Napi::Function callback) {
			if (env != nullptr && !callback.IsEmpty())
				callback.Call({});
		});
	}

	void Close()
	{
#ifdef __linux__
		am_plane_stop(plane_);
		plane_ = nullptr;
#endif
		if (wakes_)
			wake_.Release();
		wakes_ = false;
	}

	void SetSite(const Napi::CallbackInfo &info)
	{
		Napi::Object object = info[0].As<Napi::Object>();
		Napi::Array addresses = object.Get("rlocs").As<Napi::Array>();
		std::vector<struct lisp_addr> rlocs;
		for (uint32_t i = 0; i < addresses.Length(); i++)
			rlocs.push_back(ToAddr(addresses.Get(i)));
		std::vector<struct lisp_prefix> eids = ToPrefixes(object.Get("eids")), routes = ToPrefixes(object.Get("routes"));
		struct am_site site;
		memset(&site, 0, sizeof(site));
		site.iid = Number(object.Get("iid"));
		site.rlocs = rlocs.data();
		site.nrlocs = static_cast<unsigned>(rlocs.size());
		site.eids = eids.data();
		site.neids = static_cast<unsigned>(eids.size());
		site.routes = routes.data();
		site.nroutes = static_cast<unsigned>(routes.size());
		site.source_check = object.Get("sourceCheck").ToBoolean();
		site.glean = object.Get("glean").ToBoolean();
		site.underlay_mtu = static_cast<uint16_t>(Number(object.Get("underlayMtu")));
#ifdef __linux__
		/* Sockets first: they can fail, and then all stays as it was. */
		if (plane_ != nullptr) {
			const char *what = "";
			int error = am_plane_set_rlocs(plane_, site.rlocs, site.nrlocs, &what);
			if (error != 0)
				throw SystemError(info.Env(), what, error);
		}
#endif
		int error = am_core_set_site(core_, &site);
		if (error != 0)
			throw SystemError(info.Env(), "setting RLOCs, EIDs and routes of the data plane", error);
	}

	void SetMapping(const Napi::CallbackInfo &info)
	{
		struct lisp_mapping mapping;
		memset(&mapping, 0, sizeof(mapping));
		mapping.iid = Number(info[0]);
		mapping.eid = ToPrefix(info[1]);
		mapping.action = static_cast<uint8_t>(Number(info[2]));
		Napi::Array locators = info[3].As<Napi::Array>();
		if (locators.Length() > LISP_MAX_LOCATORS)
			throw SystemError(info.Env(), "a mapping has too many locators", E2BIG);
		for (uint32_t i = 0; i < locators.Length(); i++) {
			Napi::Object from = locators.Get(i).As<Napi::Object>();
			struct lisp_locator *locator = &mapping.locators[mapping.nlocators++];
			locator->rloc = ToAddr(from.Get("rloc"));
			locator->priority = static_cast<uint8_t>(Number(from.Get("priority")));
			locator->weight = static_cast<uint8_t>(Number(from.Get("weight")));
			locator->up = from.Get("reachable").ToBoolean();
		}
		int error = am_core_set_mapping(core_, &mapping);
		if (error != 0)
			throw SystemError(info.Env(), ("setting the mapping of " + Text(mapping.eid)).c_str(), error);
#ifdef __linux__
		if (plane_ != nullptr)
			am_plane_wake(plane_);
#endif
	}

	Napi::Value DeleteMapping(const Napi::CallbackInfo &info)
	{
		struct lisp_prefix eid = ToPrefix(info[1]);
		return Napi::Boolean::New(info.Env(), am_core_delete_mapping(core_, Number(info[0]), &eid) == 0);
	}

	Napi::Value ListMappings(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		Napi::Array list = Napi::Array::New(env);
		struct lisp_mapping mapping;
		uint32_t cursor = 0, count = 0;
		while (am_core_next_mapping(core_, &cursor, &mapping) == 0) {
			Napi::HandleScope scope(env);
			Napi::Object item = Napi::Object::New(env);
			Napi::Array locators = Napi::Array::New(env, mapping.nlocators);
			for (uint32_t i = 0; i < mapping.nlocators; i++) {
				Napi::Object locator = Napi::Object::New(env);
				locator.Set("rloc", Text(mapping.locators[i].rloc));
				locator.Set("priority", mapping.locators[i].priority);
				locator.Set("weight", mapping.locators[i].weight);
				locators.Set(i, locator);
			}
			item.Set("iid", mapping.iid);
			item.Set("eid", Text(mapping.eid));
			item.Set("locators", locators);
			list.Set(count++, item);
		}
		return list;
	}

	void SetPathState(const Napi::CallbackInfo &info)
	{
		struct lisp_path path = ToPath(info[0]);
		int error = am_core_set_path_state(core_, &path, info[1].ToBoolean());
		if (error != 0)
			throw SystemError(info.Env(), "marking a path", error);
	}

	void Pin(const Napi::CallbackInfo &info)
	{
		struct lisp_flow flow = ToFlow(info[0], Number(info[2]));
		struct lisp_path path = ToPath(info[1]);
		int error = am_core_pin(core_, &flow, &path);
		if (error != 0)
			throw SystemError(info.Env(), "pinning a flow", error);
	}

	Napi::Value Unpin(const Napi::CallbackInfo &info)
	{
		struct lisp_flow flow = ToFlow(info[0], Number(info[1]));
		return Napi::Boolean::New(info.Env(), am_core_unpin(core_, &flow) == 0);
	}

	Napi::Value ListPins(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		Napi::Array list = Napi::Array::New(env);
		struct lisp_pin pin;
		uint64_t cursor = 0;
		uint32_t count = 0;
		while (am_core_next_pin(core_, &cursor, &pin) == 0) {
			Napi::HandleScope scope(env);
			list.Set(count++, PinObject(env, pin.flow, pin.path, pin.gleaned));
		}
		return list;
	}

	Napi::Value Paths(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		Napi::Array list = Napi::Array::New(env);
		struct lisp_path_info path;
		for (uint32_t i = 0; am_core_get_path(core_, i, &path) == 0; i++) {
			Napi::HandleScope scope(env);
			Napi::Object item = PathObject(env, path.path);
			item.Set("packetsSent", static_cast<double>(path.packets_sent));
			item.Set("bytesSent", static_cast<double>(path.bytes_sent));
			item.Set("packetsReceived", static_cast<double>(path.packets_received));
			item.Set("bytesReceived", static_cast<double>(path.bytes_received));
			if (path.last_received_ms != 0)
				item.Set("lastReceivedMs", static_cast<double>(path.last_received_ms));
			item.Set("up", path.up);
			if (path.mtu != 0)
				item.Set("mtu", path.mtu);
			list.Set(i, item);
		}
		return list;
	}

	Napi::Value Stats(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		struct am_stats stats;
		am_core_stats(core_, &stats);
		Napi::Object object = Napi::Object::New(env), drops = Napi::Object::New(env);
		for (unsigned i = 1; i < LISP_DROP_COUNT; i++)
			if (stats.drops[i] != 0)
				drops.Set(lisp_drop_name(i), static_cast<double>(stats.drops[i]));
		object.Set("encapsulated", static_cast<double>(stats.encapsulated));
		object.Set("decapsulated", static_cast<double>(stats.decapsulated));
		object.Set("icmpSent", static_cast<double>(stats.icmp_sent));
		object.Set("eventsDropped", static_cast<double>(stats.events_dropped));
		object.Set("drops", drops);
		object.Set("mappings", stats.mappings);
		object.Set("pins", stats.pins);
		object.Set("queued", stats.queued);
		return object;
	}

	Napi::Value Events(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		Napi::Array list = Napi::Array::New(env);
		struct am_event events[64];
		uint32_t count = 0;
		unsigned taken;
		while ((taken = am_core_events(core_, events, 64)) != 0) {
			for (unsigned i = 0; i < taken; i++) {
				const struct am_event &event = events[i];
				Napi::Object item = Napi::Object::New(env);
				switch (event.type) {
				case AM_EVENT_MISS:
					item.Set("type", "miss");
					item.Set("iid", event.flow.iid);
					item.Set("eid", Text(event.eid));
					item.Set("reason", event.direction == AM_ENCAP ? "encapsulate" : "source-check");
					break;
				case AM_EVENT_GLEANED:
					item.Set("type", "gleaned");
					item.Set("pin", PinObject(env, event.flow, event.path, true));
					break;
				case AM_EVENT_STRAY:
					item.Set("type", "stray");
					item.Set("iid", event.flow.iid);
					item.Set("source", Text(event.flow.src));
					item.Set("destination", Text(event.flow.dst));
					item.Set("rloc", Text(event.path.remote));
					break;
				default:
					item.Set("type", "path-mtu");
					item.Set("path", PathObject(env, event.path));
					item.Set("mtu", event.mtu);
					break;
				}
				list.Set(count++, item);
			}
		}
		return list;
	}

	/* ---- in-process: packet in, packets out */

	/* What became of an inner packet: {outer} a datagram, {inner} an ICMP answer, or nothing. */
	Napi::Value EncapsulateOne(Napi::Env env, uint8_t *data, size_t length, uint64_t now)
	{
		struct lisp_inner inner;
		struct lisp_encap_plan plan;
		enum lisp_drop cause = LISP_DROP_NONE;
		Napi::Object result = Napi::Object::New(env);
		if (!lisp_inner_parse(data, length, length, true, &inner, &cause)) {
			am_core_drop(core_, cause, 1);
			return result;
		}
		am_core_encap(core_, &inner, inner.length, 1, inner.length, now, &plan);
		switch (plan.verdict) {
		case LISP_FORWARD: {
			Napi::Buffer<uint8_t> payload = Napi::Buffer<uint8_t>::New(env, LISP_HEADER_SIZE + inner.length);
			lisp_encap_write_lisp(&plan, payload.Data());
			memcpy(payload.Data() + LISP_HEADER_SIZE, data, inner.length);
			Napi::Object outer = PathObject(env, plan.path);
			outer.Set("sourcePort", plan.source_port);
			outer.Set("tos", plan.tos);
			outer.Set("ttl", plan.ttl);
			outer.Set("data", payload);
			result.Set("outer", outer);
			break;
		}
		case LISP_MISS:
			am_core_hold(core_, AM_ENCAP, plan.iid, &inner.flow.dst, nullptr, nullptr, 0, data, inner.length, now);
			break;
		case LISP_TOO_BIG: {
			uint8_t icmp[LISP_ICMP_MAX];
			size_t made = lisp_icmp_too_big(data, &inner, inner.length, &inner.flow.dst, plan.mtu, icmp, sizeof(icmp));
			am_core_drop(core_, LISP_DROP_TOO_BIG, 1);
			if (made != 0 && am_core_icmp_allowed(core_, now))
				result.Set("inner", Napi::Buffer<uint8_t>::Copy(env, icmp, made));
			break;
		}
		default:
			am_core_drop(core_, plan.cause, 1);
		}
		return result;
	}

	Napi::Value DecapsulateOne(Napi::Env env, const struct lisp_outer &outer, uint8_t *data, size_t length, uint64_t now)
	{
		struct lisp_decap_plan plan;
		Napi::Object result = Napi::Object::New(env);
		am_core_decap(core_, &outer, data, length, length, now, &plan, 1);
		if (plan.verdict == LISP_FORWARD)
			result.Set("inner", Napi::Buffer<uint8_t>::Copy(env, data + LISP_HEADER_SIZE, plan.inner.length));
		else if (plan.verdict == LISP_MISS)
			am_core_hold(core_, AM_DECAP, plan.header.iid, &plan.inner.flow.src, &outer, nullptr, 0, data, length, now);
		else
			am_core_drop(core_, plan.cause, 1);
		return result;
	}

	/* (packet, now) */
	Napi::Value Encapsulate(const Napi::CallbackInfo &info)
	{
		Napi::Uint8Array from = info[0].As<Napi::Uint8Array>();
		std::vector<uint8_t> data(from.Data(), from.Data() + from.ByteLength());
		return EncapsulateOne(info.Env(), data.data(), data.size(), static_cast<uint64_t>(info[1].As<Napi::Number>().DoubleValue()));
	}

	/* ({local, remote, sourcePort, tos, ttl, data}, now) */
	Napi::Value Decapsulate(const Napi::CallbackInfo &info)
	{
		Napi::Object from = info[0].As<Napi::Object>();
		Napi::Uint8Array bytes = from.Get("data").As<Napi::Uint8Array>();
		std::vector<uint8_t> data(bytes.Data(), bytes.Data() + bytes.ByteLength());
		struct lisp_outer outer;
		memset(&outer, 0, sizeof(outer));
		outer.src = ToAddr(from.Get("remote"));
		outer.dst = ToAddr(from.Get("local"));
		outer.sport = static_cast<uint16_t>(Number(from.Get("sourcePort")));
		outer.tos = static_cast<uint8_t>(Number(from.Get("tos")));
		outer.ttl = static_cast<uint8_t>(Number(from.Get("ttl")));
		return DecapsulateOne(info.Env(), outer, data.data(), data.size(), static_cast<uint64_t>(info[1].As<Napi::Number>().DoubleValue()));
	}

	/* (now): results of packets whose mapping has come. */
	Napi::Value Released(const Napi::CallbackInfo &info)
	{
		Napi::Array results = Napi::Array::New(info.Env());
		uint64_t now = static_cast<uint64_t>(info[0].As<Napi::Number>().DoubleValue());
		uint32_t count = 0;
		for (int direction = AM_ENCAP; direction <= AM_DECAP; direction++) {
			struct am_held *held = am_core_released(core_, static_cast<enum am_direction>(direction));
			while (held != nullptr) {
				struct am_held *next = held->next;
				results.Set(count++, direction == AM_ENCAP ? EncapsulateOne(info.Env(), held->data, held->length, now) :
				    DecapsulateOne(info.Env(), held->outer, held->data, held->length, now));
				free(held);
				held = next;
			}
		}
		return results;
	}

	void Housekeeping(const Napi::CallbackInfo &info)
	{
		am_core_housekeeping(core_, static_cast<uint64_t>(info[0].As<Napi::Number>().DoubleValue()));
	}

	/* ---- on a device */

	/* (descriptor): ownership passes to the plane, also on failure. Call setSite() afterwards. */
	void StartDevice(const Napi::CallbackInfo &info)
	{
#ifdef __linux__
		const char *what = "";
		int error = plane_ != nullptr ? EALREADY : am_plane_start(core_, info[0].As<Napi::Number>().Int32Value(), &plane_, &what);
		if (error != 0)
			throw SystemError(info.Env(), what, error);
#else
		throw SystemError(info.Env(), "the user-space data plane", ENOSYS);
#endif
	}

	void Stop(const Napi::CallbackInfo &)
	{
		Close();
	}

	struct am_core *core_ = nullptr;
#ifdef __linux__
	struct am_plane *plane_ = nullptr;
#endif
	Napi::ThreadSafeFunction wake_;
	bool wakes_ = false;
};

Napi::Value InterfaceMtu(const Napi::CallbackInfo &info)
{
#ifdef __linux__
	struct lisp_addr addr = ToAddr(info[0]);
	return Napi::Number::New(info.Env(), am_plane_interface_mtu(&addr));
#else
	return Napi::Number::New(info.Env(), 0);
#endif
}

Napi::Value DropCauses(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Napi::Array list = Napi::Array::New(env);
	for (unsigned i = 1; i < LISP_DROP_COUNT; i++) {
		Napi::Object item = Napi::Object::New(env);
		item.Set("name", lisp_drop_name(i));
		item.Set("text", lisp_drop_text(i));
		list.Set(i - 1, item);
	}
	return list;
}

} // namespace

void InitPlane(Napi::Env env, Napi::Object exports)
{
	Napi::Object part = Napi::Object::New(env);
	part.Set("Plane", Plane::Define(env));
	part.Set("interfaceMtu", Napi::Function::New(env, InterfaceMtu));
	part.Set("dropCauses", Napi::Function::New(env, DropCauses));
	exports.Set("plane", part);
}

} // namespace amptcp
