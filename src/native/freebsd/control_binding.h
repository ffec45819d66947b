// SPDX-License-Identifier: BSD-2-Clause
#ifndef AMPTCP_CONTROL_BINDING_H
#define AMPTCP_CONTROL_BINDING_H

/* What the bindings of our modules' control devices share: addresses and lists as JavaScript has them. */
#include <fcntl.h>

#include <cerrno>
#include <cstdlib>
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

} // namespace amptcp

#endif
