// SPDX-License-Identifier: BSD-2-Clause
// bpf_object.c, bpf_attach.c and bpf_route.c for JavaScript. What the maps mean is kernel-plane.ts's business.
#include "bpf_binding.h"

#include <cerrno>
#include <map>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "bpf_attach.h"
#include "bpf_object.h"
#include "bpf_route.h"
#include "event_queue.h"

namespace amptcp {
namespace {

int Descriptor(const Napi::CallbackInfo &info, size_t at)
{
	return info[at].As<Napi::Number>().Int32Value();
}

Napi::Value Load(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Napi::Uint8Array file = info[0].As<Napi::Uint8Array>();
	/* The parser reads structures in place: they must be aligned. */
	std::vector<uint64_t> image(file.ByteLength() / 8 + 1);
	memcpy(image.data(), file.Data(), file.ByteLength());
	struct bpf_object object;
	char error[768] = "";
	int code = bpf_object_load(reinterpret_cast<uint8_t *>(image.data()), file.ByteLength(), &object, error, sizeof(error));
	if (code != 0)
		throw SystemError(env, error, code);
	Napi::Object maps = Napi::Object::New(env), programs = Napi::Object::New(env), result = Napi::Object::New(env);
	for (unsigned i = 0; i < object.nmaps; i++) {
		Napi::Object map = Napi::Object::New(env);
		map.Set("descriptor", object.maps[i].fd);
		map.Set("keySize", object.maps[i].key_size);
		map.Set("valueSize", object.maps[i].value_size);
		map.Set("maxEntries", object.maps[i].max_entries);
		maps.Set(object.maps[i].name, map);
	}
	for (unsigned i = 0; i < object.nprograms; i++)
		programs.Set(object.programs[i].name, object.programs[i].fd);
	result.Set("maps", maps);
	result.Set("programs", programs);
	return result;
}

void Close(const Napi::CallbackInfo &info)
{
	close(Descriptor(info, 0));
}

void Update(const Napi::CallbackInfo &info)
{
	int code = bpf_map_update(Descriptor(info, 0), info[1].As<Napi::Uint8Array>().Data(),
	    info[2].As<Napi::Uint8Array>().Data());
	if (code != 0)
		throw SystemError(info.Env(), "setting an element of an eBPF map", code);
}

Napi::Value Delete(const Napi::CallbackInfo &info)
{
	int code = bpf_map_delete(Descriptor(info, 0), info[1].As<Napi::Uint8Array>().Data());
	if (code != 0 && code != ENOENT)
		throw SystemError(info.Env(), "removing an element of an eBPF map", code);
	return Napi::Boolean::New(info.Env(), code == 0);
}

/* (descriptor, key, octets of the value) -> whether it is there; the value goes to the array given. */
Napi::Value Lookup(const Napi::CallbackInfo &info)
{
	int code = bpf_map_lookup(Descriptor(info, 0), info[1].As<Napi::Uint8Array>().Data(),
	    info[2].As<Napi::Uint8Array>().Data());
	if (code != 0 && code != ENOENT)
		throw SystemError(info.Env(), "reading an element of an eBPF map", code);
	return Napi::Boolean::New(info.Env(), code == 0);
}

/* All keys, one behind the other. A map that changes meanwhile may show one twice, hence the bound. */
Napi::Value Keys(const Napi::CallbackInfo &info)
{
	size_t size = info[1].As<Napi::Number>().Uint32Value(), bound = info[2].As<Napi::Number>().Uint32Value(), count = 0;
	std::vector<uint8_t> keys, next(size);
	int code = bpf_map_next(Descriptor(info, 0), nullptr, next.data());
	while (code == 0 && count++ < bound) {
		keys.insert(keys.end(), next.begin(), next.end());
		code = bpf_map_next(Descriptor(info, 0), keys.data() + keys.size() - size, next.data());
	}
	if (code != 0 && code != ENOENT)
		throw SystemError(info.Env(), "listing an eBPF map", code);
	return Napi::Buffer<uint8_t>::Copy(info.Env(), keys.data(), keys.size());
}

/* Filters in clsact qdiscs, by the descriptor that stands for each: nothing in the kernel goes with that one. */
struct Filter {
	uint32_t device;
	bool egress;
};

std::map<int, Filter> filters;

/* (program, device, egress, whether by clsact though the kernel may have tcx) -> what Detach() takes */
Napi::Value Attach(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int program = Descriptor(info, 0);
	Filter filter = { info[1].As<Napi::Number>().Uint32Value(), info[2].As<Napi::Boolean>() };
	bool clsact = info[3].As<Napi::Boolean>();
	int fd = clsact ? -1 : bpf_attach_tcx(program, filter.device, filter.egress);
	if (fd < 0 && !clsact && errno != EINVAL)
		throw SystemError(env, "attaching an eBPF program to a device (tcx)", errno);
	if (fd >= 0)
		return Napi::Number::New(env, fd);
	if ((fd = eventfd(0, EFD_CLOEXEC)) < 0)
		throw SystemError(env, "eventfd", errno);
	int code = bpf_attach_clsact(program, filter.device, filter.egress);
	if (code != 0) {
		close(fd);
		throw SystemError(env, "attaching an eBPF program to a device (clsact)", code);
	}
	filters[fd] = filter;
	return Napi::Number::New(env, fd);
}

void Detach(const Napi::CallbackInfo &info)
{
	int fd = Descriptor(info, 0);
	auto filter = filters.find(fd);
	if (filter != filters.end()) {
		bpf_detach_clsact(filter->second.device, filter->second.egress);
		filters.erase(filter);
	}
	close(fd);
}

void Clean(const Napi::CallbackInfo &)
{
	bpf_clsact_clean();
}

Napi::Value RouteToObject(Napi::Env env, int code, const struct bpf_route &route)
{
	if (code != 0)
		return env.Undefined();
	Napi::Object result = Napi::Object::New(env);
	result.Set("device", route.device);
	result.Set("mtu", route.mtu);
	result.Set("ethernet", route.ethernet);
	return result;
}

/* Octets of local and remote address -> route, undefined without one. */
Napi::Value Route(const Napi::CallbackInfo &info)
{
	Napi::Uint8Array local = info[0].As<Napi::Uint8Array>(), remote = info[1].As<Napi::Uint8Array>();
	struct bpf_route route;
	int code = bpf_route_find(remote.ByteLength() == 4 ? AF_INET : AF_INET6, local.Data(), remote.Data(), &route);
	return RouteToObject(info.Env(), code, route);
}

Napi::Value Owner(const Napi::CallbackInfo &info)
{
	Napi::Uint8Array address = info[0].As<Napi::Uint8Array>();
	struct bpf_route route;
	int code = bpf_route_owner(address.ByteLength() == 4 ? AF_INET : AF_INET6, address.Data(), &route);
	return RouteToObject(info.Env(), code, route);
}

/* 0: no such device. */
Napi::Value Index(const Napi::CallbackInfo &info)
{
	std::string name = info[0].As<Napi::String>();
	return Napi::Number::New(info.Env(), if_nametoindex(name.c_str()));
}

/* The events' ring, read by a thread: one a process, as there is one plane. */
using Record = std::vector<uint8_t>;

struct Reader {
	struct bpf_ring ring;
	int wake;
	std::thread thread;
	EventQueue<Record> queue;
};

Reader *reader;

void Deliver(Napi::Env env, Napi::Function callback, std::vector<Record> &batch)
{
	Napi::Array records = Napi::Array::New(env, batch.size());
	for (size_t i = 0; i < batch.size(); i++)
		records.Set(i, Napi::Buffer<uint8_t>::Copy(env, batch[i].data(), batch[i].size()));
	callback.Call({ records });
}

void OnRecord(const void *data, uint32_t size, void *context)
{
	const uint8_t *octets = static_cast<const uint8_t *>(data);
	static_cast<Reader *>(context)->queue.Push(Record(octets, octets + size));
}

void Read(Reader *r)
{
	for (;;) {
		struct pollfd wait[2] = { { r->ring.fd, POLLIN, 0 }, { r->wake, POLLIN, 0 } };
		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			return;
		if (wait[1].revents != 0)
			return;
		while (bpf_ring_read(&r->ring, 1024, OnRecord, r) == 1024)
			;
	}
}

void OpenRing(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	if (reader != nullptr)
		throw SystemError(env, "the ring of eBPF events is open already", EALREADY);
	Reader *r = new Reader;
	int code = bpf_ring_open(&r->ring, Descriptor(info, 0), info[1].As<Napi::Number>().Uint32Value());
	if (code != 0) {
		delete r;
		throw SystemError(env, "opening the ring of eBPF events", code);
	}
	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->wake < 0) {
		code = errno;
		bpf_ring_close(&r->ring);
		delete r;
		throw SystemError(env, "eventfd", code);
	}
	r->queue.Start(env, info[2].As<Napi::Function>(), "amptcp lisp events", Deliver, true);
	r->thread = std::thread(Read, r);
	reader = r;
}

void CloseRing(const Napi::CallbackInfo &)
{
	Reader *r = reader;
	uint64_t one = 1;
	if (r == nullptr || write(r->wake, &one, sizeof(one)) < 0)
		return;
	reader = nullptr;
	r->thread.join();
	r->queue.Stop();
	bpf_ring_close(&r->ring);
	close(r->wake);
	delete r;
}

} // namespace

void InitBpf(Napi::Env env, Napi::Object exports)
{
	Napi::Object part = Napi::Object::New(env);
	part.Set("load", Napi::Function::New(env, Load));
	part.Set("close", Napi::Function::New(env, Close));
	part.Set("update", Napi::Function::New(env, Update));
	part.Set("delete", Napi::Function::New(env, Delete));
	part.Set("lookup", Napi::Function::New(env, Lookup));
	part.Set("keys", Napi::Function::New(env, Keys));
	part.Set("attach", Napi::Function::New(env, Attach));
	part.Set("detach", Napi::Function::New(env, Detach));
	part.Set("clean", Napi::Function::New(env, Clean));
	part.Set("route", Napi::Function::New(env, Route));
	part.Set("owner", Napi::Function::New(env, Owner));
	part.Set("index", Napi::Function::New(env, Index));
	part.Set("openRing", Napi::Function::New(env, OpenRing));
	part.Set("closeRing", Napi::Function::New(env, CloseRing));
	exports.Set("bpf", part);
}

} // namespace amptcp
