// SPDX-License-Identifier: BSD-2-Clause
#ifndef AMPTCP_CONTROL_BINDING_H
#define AMPTCP_CONTROL_BINDING_H

/* What the bindings of our modules' control devices share: watching a descriptor, addresses and lists as JavaScript has them. */
#include <fcntl.h>
#include <uv.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "event_queue.h"

namespace amptcp {

/* `error`: an errno value, or 0. */
inline void Check(Napi::Env env, int error, const char *what)
{
	if (error != 0)
		throw SystemError(env, what, error);
}

inline uint32_t Number(Napi::Value value)
{
	return value.As<Napi::Number>().Uint32Value();
}

inline uint16_t ToPort(Napi::Value value)
{
	return static_cast<uint16_t>(Number(value));
}

/* An address or prefix of a module's ABI, by the library's function that reads it. */
template <typename Address, typename Parse> Address ReadAddress(Napi::Value value, Parse parse)
{
	std::string text = value.As<Napi::String>().Utf8Value();
	Address address;
	Check(value.Env(), parse(text.c_str(), &address), ("address " + text).c_str());
	return address;
}

template <typename Entry> std::vector<Entry> ReadList(Napi::Value value, Entry (*read)(Napi::Value))
{
	Napi::Array list = value.As<Napi::Array>();
	std::vector<Entry> entries;
	entries.reserve(list.Length());
	for (uint32_t i = 0; i < list.Length(); i++)
		entries.push_back(read(list.Get(i)));
	return entries;
}

template <typename Entry> Napi::Array WriteList(Napi::Env env, const Entry *entries, size_t count,
    Napi::Object (*write)(Napi::Env, const Entry &))
{
	Napi::Array list = Napi::Array::New(env, count);
	for (size_t i = 0; i < count; i++)
		list.Set(static_cast<uint32_t>(i), write(env, entries[i]));
	return list;
}

/* A list that a library allocated. */
template <typename Entry> struct Allocated {
	Entry *entries = nullptr;
	size_t count = 0;
	~Allocated() { free(entries); }
};

/* True, or false for ENOENT: what should be taken away is not there. */
inline Napi::Value WasThere(Napi::Env env, int error, const char *what)
{
	if (error != ENOENT)
		Check(env, error, what);
	return Napi::Boolean::New(env, error == 0);
}

/* Of a device: its events are asked for when there may be none. */
inline void SetNonBlocking(Napi::Env env, int fd)
{
	Check(env, fcntl(fd, F_SETFL, O_NONBLOCK) == -1 ? errno : 0, "a descriptor that does not wait");
}

/* Calls JavaScript while there is something to read; lives until libuv has closed it, which is after its owner is gone. */
class Watcher {
public:
	/* `unref`: the descriptor alone does not keep the process. */
	static Watcher *Start(Napi::Env env, int fd, Napi::Value callback, bool unref = false)
	{
		uv_loop_t *loop;
		if (napi_get_uv_event_loop(env, &loop) != napi_ok)
			throw SystemError(env, "event loop", EIO);
		auto watcher = std::make_unique<Watcher>();
		watcher->env_ = env;
		watcher->wake_ = Napi::Persistent(callback.As<Napi::Function>());
		watcher->poll_.data = watcher.get();
		Check(env, -uv_poll_init(loop, &watcher->poll_, fd), "watching a descriptor");
		Watcher *started = watcher.release();
		int error = uv_poll_start(&started->poll_, UV_READABLE, [](uv_poll_t *poll, int, int) {
			auto *self = static_cast<Watcher *>(poll->data);
			Napi::HandleScope scope(self->env_);
			try {
				self->wake_.MakeCallback(Napi::Env(self->env_).Global(), {});
			} catch (const Napi::Error &e) {
				e.ThrowAsJavaScriptException();
			}
		});
		if (error != 0) {
			Stop(started);
			throw SystemError(env, "watching a descriptor", -error);
		}
		if (unref)
			uv_unref(reinterpret_cast<uv_handle_t *>(&started->poll_));
		return started;
	}

	/* Null: nothing. */
	static void Stop(Watcher *watcher)
	{
		if (watcher == nullptr)
			return;
		uv_poll_stop(&watcher->poll_);
		uv_close(reinterpret_cast<uv_handle_t *>(&watcher->poll_),
		    [](uv_handle_t *handle) { delete static_cast<Watcher *>(handle->data); });
	}

private:
	uv_poll_t poll_;
	napi_env env_;
	Napi::FunctionReference wake_;
};

} // namespace amptcp

#endif
