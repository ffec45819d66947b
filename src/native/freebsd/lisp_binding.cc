// SPDX-License-Identifier: BSD-2-Clause
// lispctl.c for JavaScript: one object per descriptor of /dev/lisp. Nothing is decided here; values are turned into structures
// of the ABI and back, and the kernel checks them.
#include "lisp_binding.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <string>
#include <uv.h>
#include <vector>

#include "../common/event_queue.h"
#include "lispctl.h"

namespace amptcp {
namespace {

constexpr size_t EVENTS_AT_ONCE = 64;

void Check(Napi::Env env, int error, const char *what)
{
	if (error != 0)
		throw SystemError(env, what, error);
}

uint32_t Number(Napi::Value value)
{
	return value.As<Napi::Number>().Uint32Value();
}

struct lisp_ioc_addr ToAddress(Napi::Value value)
{
	std::string text = value.As<Napi::String>().Utf8Value();
	struct lisp_ioc_addr address;
	Check(value.Env(), lispctl_parse(text.c_str(), &address), ("address " + text).c_str());
	return address;
}

std::string Text(const struct lisp_ioc_addr &address, bool prefix = false)
{
	char room[64];
	return lispctl_format(&address, prefix, room, sizeof(room));
}

std::vector<struct lisp_ioc_addr> ToAddresses(Napi::Value value)
{
	Napi::Array list = value.As<Napi::Array>();
	std::vector<struct lisp_ioc_addr> addresses;
	for (uint32_t i = 0; i < list.Length(); i++)
		addresses.push_back(ToAddress(list.Get(i)));
	return addresses;
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
	pin.lp_flow.lf_local_port = static_cast<uint16_t>(Number(local.Get("port")));
	pin.lp_flow.lf_remote_port = static_cast<uint16_t>(Number(remote.Get("port")));
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

/* A list that lispctl allocated. */
template <typename Entry> struct List {
	Entry *entries = nullptr;
	size_t count = 0;
	~List() { free(entries); }
};

/* Lives until libuv has closed it, which is after the object is gone. */
struct Watcher {
	uv_poll_t poll;
	napi_env env;
	Napi::FunctionReference wake;
};

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
		if (fcntl(control_.fd, F_SETFL, O_NONBLOCK) == -1 || (info[1].IsFunction() && !Watch(env, info[1]))) {
			int error = errno;
			lispctl_close(&control_);
			throw SystemError(env, "events of /dev/lisp", error);
		}
	}

	~Control() override { Release(); }

private:
	bool Watch(Napi::Env env, Napi::Value wake)
	{
		uv_loop_t *loop;
		if (napi_get_uv_event_loop(env, &loop) != napi_ok) {
			errno = EIO;
			return false;
		}
		auto watcher = std::make_unique<Watcher>();
		watcher->env = env;
		watcher->wake = Napi::Persistent(wake.As<Napi::Function>());
		watcher->poll.data = watcher.get();
		int error = uv_poll_init(loop, &watcher->poll, control_.fd);
		if (error != 0) {
			errno = -error;
			return false;
		}
		watcher_ = watcher.release();
		error = uv_poll_start(&watcher_->poll, UV_READABLE, [](uv_poll_t *poll, int, int) {
			auto *self = static_cast<Watcher *>(poll->data);
			Napi::HandleScope scope(self->env);
			try {
				self->wake.MakeCallback(Napi::Env(self->env).Global(), {});
			} catch (const Napi::Error &e) {
				e.ThrowAsJavaScriptException();
			}
		});
		if (error != 0) {
			Release();
			errno = -error;
			return false;
		}
		/* Waiting for events does not keep the process. */
		uv_unref(reinterpret_cast<uv_handle_t *>(&watcher_->poll));
		return true;
	}

	void Release()
	{
		if (watcher_ != nullptr) {
			uv_poll_stop(&watcher_->poll);
			uv_close(reinterpret_cast<uv_handle_t *>(&watcher_->poll),
			    [](uv_handle_t *handle) { delete static_cast<Watcher *>(handle->data); });
			watcher_ = nullptr;
		}
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
		std::vector<struct lisp_ioc_addr> rlocs = ToAddresses(info[0]);
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
		std::vector<struct lisp_ioc_addr> eids = ToAddresses(info[1]);
		Check(info.Env(), lispctl_eids_set(&control_, Number(info[0]), eids.data(), eids.size()), "local EIDs");
	}

	void SetMapping(const Napi::CallbackInfo &info)
	{
		Napi::Array locators = info[3].As<Napi::Array>();
		struct lisp_ioc_mapping mapping;
		memset(&mapping, 0, sizeof(mapping));
		if (locators.Length() > LISP_ABI_LOCATORS)
			throw SystemError(info.Env(), "mapping", E2BIG);
		mapping.lm_iid = Number(info[0]);
		mapping.lm_eid = ToAddress(info[1]);
		mapping.lm_action = static_cast<uint8_t>(Number(info[2]));
		mapping.lm_nlocators = static_cast<uint8_t>(locators.Length());
		for (uint32_t i = 0; i < locators.Length(); i++) {
			Napi::Object from = locators.Get(i).As<Napi::Object>();
			struct lisp_ioc_locator &to = mapping.lm_locators[i];
			to.ll_rloc = ToAddress(from.Get("rloc"));
			to.ll_priority = static_cast<uint8_t>(Number(from.Get("priority")));
			to.ll_weight = static_cast<uint8_t>(Number(from.Get("weight")));
			to.ll_flags = from.Get("reachable").ToBoolean() ? LISP_LOCATOR_REACHABLE : 0;
		}
		Check(info.Env(), lispctl_mapping_set(&control_, &mapping), "mapping");
	}

	/* False for ENOENT. */
	static Napi::Value Deleted(Napi::Env env, int error, const char *what)
	{
		if (error != ENOENT)
			Check(env, error, what);
		return Napi::Boolean::New(env, error == 0);
	}

	Napi::Value DeleteMapping(const Napi::CallbackInfo &info)
	{
		struct lisp_ioc_addr eid = ToAddress(info[1]);
		return Deleted(info.Env(), lispctl_mapping_delete(&control_, Number(info[0]), &eid), "mapping");
	}

	Napi::Value ListMappings(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		List<struct lisp_ioc_mapping> list;
		Check(env, lispctl_mappings(&control_, &list.entries, &list.count), "mappings");
		Napi::Array array = Napi::Array::New(env, list.count);
		for (size_t i = 0; i < list.count; i++) {
			const struct lisp_ioc_mapping &mapping = list.entries[i];
			Napi::Object object = Napi::Object::New(env);
			Napi::Array locators = Napi::Array::New(env, mapping.lm_nlocators);
			object.Set("iid", Napi::Number::New(env, mapping.lm_iid));
			object.Set("eid", Text(mapping.lm_eid, true));
			for (uint32_t j = 0; j < mapping.lm_nlocators && j < LISP_ABI_LOCATORS; j++) {
				const struct lisp_ioc_locator &from = mapping.lm_locators[j];
				Napi::Object to = Napi::Object::New(env);
				to.Set("rloc", Text(from.ll_rloc));
				to.Set("priority", Napi::Number::New(env, from.ll_priority));
				to.Set("weight", Napi::Number::New(env, from.ll_weight));
				to.Set("reachable", Napi::Boolean::New(env, from.ll_flags & LISP_LOCATOR_REACHABLE));
				locators.Set(j, to);
			}
			object.Set("locators", locators);
			array.Set(static_cast<uint32_t>(i), object);
		}
		return array;
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
		return Deleted(info.Env(), lispctl_pin_delete(&control_, &pin), "pin");
	}

	Napi::Value ListPins(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		List<struct lisp_ioc_pin> list;
		Check(env, lispctl_pins(&control_, &list.entries, &list.count), "pins");
		Napi::Array array = Napi::Array::New(env, list.count);
		for (size_t i = 0; i < list.count; i++) {
			const struct lisp_ioc_pin &pin = list.entries[i];
			array.Set(static_cast<uint32_t>(i),
			    PinObject(env, pin.lp_flow, pin.lp_iid, pin.lp_path, pin.lp_flags & LISP_PIN_GLEANED));
		}
		return array;
	}

	void FlushPins(const Napi::CallbackInfo &info)
	{
		Check(info.Env(), lispctl_pin_flush(&control_, LISP_IID_ANY), "pins");
	}

	Napi::Value Paths(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		List<struct lisp_ioc_path_info> list;
		Check(env, lispctl_paths(&control_, &list.entries, &list.count), "paths");
		Napi::Array array = Napi::Array::New(env, list.count);
		for (size_t i = 0; i < list.count; i++) {
			const struct lisp_ioc_path_info &path = list.entries[i];
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
			array.Set(static_cast<uint32_t>(i), object);
		}
		return array;
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
