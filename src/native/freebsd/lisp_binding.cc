// SPDX-License-Identifier: BSD-2-Clause
// lispctl.c for JavaScript: one object per descriptor of /dev/lisp. Nothing is decided here; values are turned into structures
// of the ABI and back, and the kernel checks them.
#include "lisp_binding.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "control_binding.h"
#include "lispctl.h"
#include "watcher.h"

namespace amptcp {
namespace {

constexpr size_t EVENTS_AT_ONCE = 64;

struct lisp_ioc_addr ToAddress(Napi::Value value)
{
	return ReadAddress<struct lisp_ioc_addr>(value, lispctl_parse);
}

std::string Text(const struct lisp_ioc_addr &address, bool prefix = false)
{
	char room[64];
	return lispctl_format(&address, prefix, room, sizeof(room));
}

struct lisp_ioc_path ToPath(Napi::Value value)
{
	Napi::Object object = value.As<Napi::Object>();
	struct lisp_ioc_path path;
	path.lp_local = ToAddress(object.Get("local"));
	path.lp_remote = ToAddress(object.Get("remote"));
	return path;
}

Napi::Object PathObject(Napi::Env env, const struct lisp_ioc_path &path)
{
	Napi::Object object = Napi::Object::New(env);
	object.Set("local", Text(path.lp_local));
	object.Set("remote", Text(path.lp_remote));
	return object;
}

/* Pinned flows of the gateway's are TCP. */
struct lisp_ioc_pin ToPin(Napi::Value flow, uint32_t iid)
{
	Napi::Object object = flow.As<Napi::Object>(), local = object.Get("local").As<Napi::Object>(),
		     remote = object.Get("remote").As<Napi::Object>();
	struct lisp_ioc_pin pin;
	memset(&pin, 0, sizeof(pin));
	pin.lp_iid = iid;
	pin.lp_flow.lf_protocol = 6;
	pin.lp_flow.lf_local = ToAddress(local.Get("address"));
	pin.lp_flow.lf_remote = ToAddress(remote.Get("address"));
	pin.lp_flow.lf_local_port = ToPort(local.Get("port"));
	pin.lp_flow.lf_remote_port = ToPort(remote.Get("port"));
	return pin;
}

Napi::Object PinObject(Napi::Env env, const struct lisp_ioc_flow &flow, uint32_t iid, const struct lisp_ioc_path &path,
    bool gleaned)
{
	Napi::Object object = Napi::Object::New(env), pair = Napi::Object::New(env), local = Napi::Object::New(env),
		     remote = Napi::Object::New(env);
	local.Set("address", Text(flow.lf_local));
	local.Set("port", Napi::Number::New(env, flow.lf_local_port));
	remote.Set("address", Text(flow.lf_remote));
	remote.Set("port", Napi::Number::New(env, flow.lf_remote_port));
	pair.Set("local", local);
	pair.Set("remote", remote);
	object.Set("flow", pair);
	object.Set("iid", Napi::Number::New(env, iid));
	object.Set("path", PathObject(env, path));
	object.Set("gleaned", Napi::Boolean::New(env, gleaned));
	return object;
}

Napi::Object PinObject(Napi::Env env, const struct lisp_ioc_pin &pin)
{
	return PinObject(env, pin.lp_flow, pin.lp_iid, pin.lp_path, pin.lp_flags & LISP_PIN_GLEANED);
}

struct lisp_ioc_locator ToLocator(Napi::Value value)
{
	Napi::Object from = value.As<Napi::Object>();
	struct lisp_ioc_locator to;
	memset(&to, 0, sizeof(to));
	to.ll_rloc = ToAddress(from.Get("rloc"));
	to.ll_priority = static_cast<uint8_t>(Number(from.Get("priority")));
	to.ll_weight = static_cast<uint8_t>(Number(from.Get("weight")));
	to.ll_flags = from.Get("reachable").ToBoolean() ? LISP_LOCATOR_REACHABLE : 0;
	return to;
}

Napi::Object LocatorObject(Napi::Env env, const struct lisp_ioc_locator &from)
{
	Napi::Object to = Napi::Object::New(env);
	to.Set("rloc", Text(from.ll_rloc));
	to.Set("priority", Napi::Number::New(env, from.ll_priority));
	to.Set("weight", Napi::Number::New(env, from.ll_weight));
	to.Set("reachable", Napi::Boolean::New(env, from.ll_flags & LISP_LOCATOR_REACHABLE));
	return to;
}

Napi::Object MappingObject(Napi::Env env, const struct lisp_ioc_mapping &mapping)
{
	Napi::Object object = Napi::Object::New(env);
	object.Set("iid", Napi::Number::New(env, mapping.lm_iid));
	object.Set("eid", Text(mapping.lm_eid, true));
	object.Set("locators", WriteList(env, mapping.lm_locators,
	    std::min<size_t>(mapping.lm_nlocators, LISP_ABI_LOCATORS), LocatorObject));
	return object;
}

Napi::Object PathInfoObject(Napi::Env env, const struct lisp_ioc_path_info &path)
{
	Napi::Object object = PathObject(env, path.pi_path);
	auto set = [&](const char *name, uint64_t value) {
		object.Set(name, Napi::Number::New(env, static_cast<double>(value)));
	};
	object.Set("up", Napi::Boolean::New(env, path.pi_up != 0));
	set("mtu", path.pi_mtu);
	set("packetsSent", path.pi_packets_sent);
	set("bytesSent", path.pi_octets_sent);
	set("packetsReceived", path.pi_packets_received);
	set("bytesReceived", path.pi_octets_received);
	if (path.pi_last_received_ms != 0)
		set("lastReceivedMs", path.pi_last_received_ms);
	return object;
}

class Control : public Napi::ObjectWrap<Control> {
public:
	static Napi::Function Define(Napi::Env env)
	{
		return DefineClass(env, "Control", {
			InstanceMethod("info", &Control::Info),
			InstanceMethod("setIid", &Control::SetIid),
			InstanceMethod("setRlocs", &Control::SetRlocs),
			InstanceMethod("setEids", &Control::SetEids),
			InstanceMethod("setMapping", &Control::SetMapping),
			InstanceMethod("deleteMapping", &Control::DeleteMapping),
			InstanceMethod("listMappings", &Control::ListMappings),
			InstanceMethod("flushMappings", &Control::FlushMappings),
			InstanceMethod("setPathState", &Control::SetPathState),
			InstanceMethod("pin", &Control::Pin),
			InstanceMethod("unpin", &Control::Unpin),
			InstanceMethod("listPins", &Control::ListPins),
			InstanceMethod("flushPins", &Control::FlushPins),
			InstanceMethod("paths", &Control::Paths),
			InstanceMethod("stats", &Control::Stats),
			InstanceMethod("setSwitch", &Control::SetSwitch),
			InstanceMethod("events", &Control::Events),
			InstanceMethod("close", &Control::Close),
		});
	}

	explicit Control(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Control>(info)
	{
		Napi::Env env = info.Env();
		if (info[0].IsNumber()) {
			Check(env, lispctl_adopt(&control_, info[0].As<Napi::Number>().Int32Value()), "lisp(4) descriptor");
		} else {
			Check(env, lispctl_open(&control_, true), "/dev/lisp");
		}
		try {
			SetNonBlocking(env, control_.fd);
			if (info[1].IsFunction())
				watcher_ = Watcher::Start(env, control_.fd, info[1], true);
		} catch (const Napi::Error &) {
			lispctl_close(&control_);
			throw;
		}
	}

	~Control() override { Release(); }

private:
	void Release()
	{
		Watcher::Stop(watcher_);
		watcher_ = nullptr;
		lispctl_close(&control_);
	}

	Napi::Value Info(const Napi::CallbackInfo &info)
	{
		struct lisp_ioc_info what;
		Check(info.Env(), lispctl_info(&control_, &what), "lisp(4) information");
		Napi::Object object = Napi::Object::New(info.Env());
		object.Set("device", std::string(what.in_ifname));
		object.Set("iid", Napi::Number::New(info.Env(), what.in_iid));
		object.Set("mtu", Napi::Number::New(info.Env(), what.in_mtu));
		object.Set("mappings", Napi::Number::New(info.Env(), what.in_mappings));
		object.Set("pins", Napi::Number::New(info.Env(), what.in_pins));
		object.Set("paths", Napi::Number::New(info.Env(), what.in_paths));
		return object;
	}

	void SetIid(const Napi::CallbackInfo &info)
	{
		Check(info.Env(), lispctl_set_iid(&control_, Number(info[0])), "instance-id");
	}

	void SetRlocs(const Napi::CallbackInfo &info)
	{
		std::vector<struct lisp_ioc_addr> rlocs = ReadList(info[0], ToAddress);
		std::vector<uint16_t> fibs(rlocs.size(), LISP_FIB_DEFAULT);
		if (info[1].IsArray()) {
			Napi::Array list = info[1].As<Napi::Array>();
			for (uint32_t i = 0; i < list.Length() && i < fibs.size(); i++)
				if (list.Get(i).IsNumber())
					fibs[i] = static_cast<uint16_t>(Number(list.Get(i)));
		}
		Check(info.Env(), lispctl_rlocs_set(&control_, rlocs.data(), fibs.data(), rlocs.size()), "local RLOCs");
	}

	void SetEids(const Napi::CallbackInfo &info)
	{
		std::vector<struct lisp_ioc_addr> eids = ReadList(info[1], ToAddress);
		Check(info.Env(), lispctl_eids_set(&control_, Number(info[0]), eids.data(), eids.size()), "local EIDs");
	}

	void SetMapping(const Napi::CallbackInfo &info)
	{
		std::vector<struct lisp_ioc_locator> locators = ReadList(info[3], ToLocator);
		struct lisp_ioc_mapping mapping;
		memset(&mapping, 0, sizeof(mapping));
		if (locators.size() > LISP_ABI_LOCATORS)
			throw SystemError(info.Env(), "mapping", E2BIG);
		mapping.lm_iid = Number(info[0]);
		mapping.lm_eid = ToAddress(info[1]);
		mapping.lm_action = static_cast<uint8_t>(Number(info[2]));
		mapping.lm_nlocators = static_cast<uint8_t>(locators.size());
		std::copy(locators.begin(), locators.end(), mapping.lm_locators);
		Check(info.Env(), lispctl_mapping_set(&control_, &mapping), "mapping");
	}

	Napi::Value DeleteMapping(const Napi::CallbackInfo &info)
	{
		struct lisp_ioc_addr eid = ToAddress(info[1]);
		return WasThere(info.Env(), lispctl_mapping_delete(&control_, Number(info[0]), &eid), "mapping");
	}

	Napi::Value ListMappings(const Napi::CallbackInfo &info)
	{
		Allocated<struct lisp_ioc_mapping> list;
		Check(info.Env(), lispctl_mappings(&control_, &list.entries, &list.count), "mappings");
		return WriteList(info.Env(), list.entries, list.count, MappingObject);
	}

	void FlushMappings(const Napi::CallbackInfo &info)
	{
		Check(info.Env(), lispctl_mapping_flush(&control_, LISP_IID_ANY), "mappings");
	}

	void SetPathState(const Napi::CallbackInfo &info)
	{
		struct lisp_ioc_path path = ToPath(info[0]);
		Check(info.Env(), lispctl_path_state(&control_, &path, info[1].ToBoolean(), 0), "path");
	}

	void Pin(const Napi::CallbackInfo &info)
	{
		struct lisp_ioc_pin pin = ToPin(info[0], Number(info[2]));
		pin.lp_path = ToPath(info[1]);
		Check(info.Env(), lispctl_pin_set(&control_, &pin), "pin");
	}

	Napi::Value Unpin(const Napi::CallbackInfo &info)
	{
		struct lisp_ioc_pin pin = ToPin(info[0], Number(info[1]));
		return WasThere(info.Env(), lispctl_pin_delete(&control_, &pin), "pin");
	}

	Napi::Value ListPins(const Napi::CallbackInfo &info)
	{
		Allocated<struct lisp_ioc_pin> list;
		Check(info.Env(), lispctl_pins(&control_, &list.entries, &list.count), "pins");
		return WriteList(info.Env(), list.entries, list.count, PinObject);
	}

	void FlushPins(const Napi::CallbackInfo &info)
	{
		Check(info.Env(), lispctl_pin_flush(&control_, LISP_IID_ANY), "pins");
	}

	Napi::Value Paths(const Napi::CallbackInfo &info)
	{
		Allocated<struct lisp_ioc_path_info> list;
		Check(info.Env(), lispctl_paths(&control_, &list.entries, &list.count), "paths");
		return WriteList(info.Env(), list.entries, list.count, PathInfoObject);
	}

	Napi::Value Stats(const Napi::CallbackInfo &info)
	{
		Napi::Object object = Napi::Object::New(info.Env());
		std::string node = info[0].As<Napi::String>().Utf8Value();
		Check(info.Env(), lispctl_stats(node.c_str(), [](const char *name, uint64_t value, void *context) {
			auto *to = static_cast<Napi::Object *>(context);
			to->Set(name, Napi::Number::New(to->Env(), static_cast<double>(value)));
		}, &object), "counters of lisp(4)");
		return object;
	}

	void SetSwitch(const Napi::CallbackInfo &info)
	{
		std::string name = info[0].As<Napi::String>().Utf8Value();
		Check(info.Env(), lispctl_switch(name.c_str(), info[1].As<Napi::Number>().Int32Value()),
		    ("net.inet.lisp." + name).c_str());
	}

	Napi::Value Events(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		struct lisp_event events[EVENTS_AT_ONCE];
		size_t count;
		Check(env, lispctl_events(&control_, events, EVENTS_AT_ONCE, &count), "events of lisp(4)");
		Napi::Array array = Napi::Array::New(env);
		for (size_t i = 0; i < count; i++) {
			Napi::Object object = Napi::Object::New(env);
			const struct lisp_event &event = events[i];
			switch (event.ev_type) {
			case LISP_EVENT_MISS:
				object.Set("type", "miss");
				object.Set("iid", Napi::Number::New(env, event.ev_iid));
				object.Set("eid", Text(event.ev.miss.eid));
				object.Set("reason", event.ev.miss.reason == LISP_MISS_ENCAPSULATE ? "encapsulate" : "source-check");
				break;
			case LISP_EVENT_GLEANED:
				object.Set("type", "gleaned");
				object.Set("pin", PinObject(env, event.ev.gleaned.flow, event.ev_iid, event.ev.gleaned.path, true));
				break;
			case LISP_EVENT_PATH_MTU:
				object.Set("type", "path-mtu");
				object.Set("path", PathObject(env, event.ev.mtu.path));
				object.Set("mtu", Napi::Number::New(env, event.ev.mtu.mtu));
				break;
			default:
				/* A newer module's: not for us. */
				continue;
			}
			array.Set(array.Length(), object);
		}
		return array;
	}

	void Close(const Napi::CallbackInfo &)
	{
		Release();
	}

	struct lispctl control_ = { -1 };
	Watcher *watcher_ = nullptr;
};

} // namespace

void InitLisp(Napi::Env env, Napi::Object exports)
{
	Napi::Object part = Napi::Object::New(env);
	part.Set("Control", Control::Define(env));
	exports.Set("lisp", part);
}

} // namespace amptcp
