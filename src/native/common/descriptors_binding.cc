// SPDX-License-Identifier: BSD-2-Clause
// descriptors.c for JavaScript, and the message channel between guard and daemon.
#include "descriptors.h"

#include <csignal>
#ifdef __linux__
#include <sys/prctl.h>
#else
#include <sys/procctl.h>
#endif

#include <atomic>
#include <fcntl.h>
#include <poll.h>
#include <thread>
#include <unistd.h>

#include "event_queue.h"
#include "sockets_binding.h"

namespace amptcp {
namespace {

void Close(const Napi::CallbackInfo &info)
{
	close(info[0].As<Napi::Number>().Int32Value());
}

void Reset(const Napi::CallbackInfo &info)
{
	am_reset_close(info[0].As<Napi::Number>().Int32Value());
}

#ifdef __linux__
Napi::Value OpenTun(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	char device[16] = "";
	std::string wanted = info[0].As<Napi::String>();
	snprintf(device, sizeof(device), "%s", wanted.c_str());
	int fd = am_tun_open(device, info[1].As<Napi::Boolean>(), info[2].As<Napi::Boolean>());
	if (fd < 0)
		throw SystemError(env, "opening a TUN device", -fd);
	Napi::Object result = Napi::Object::New(env);
	result.Set("device", device);
	result.Set("descriptor", fd);
	return result;
}
#endif

Napi::Value OpenListener(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct sockaddr_storage address;
	std::string text = info[0].As<Napi::String>();
	int length = am_address_parse(text.c_str(), info[1].As<Napi::Number>().Uint32Value(), &address);
	if (length < 0)
		throw SystemError(env, "address of a listener", -length);
	int fd = am_listener_open(reinterpret_cast<struct sockaddr *>(&address), length, info[2].As<Napi::Boolean>(),
	    info[3].As<Napi::Number>().Int32Value());
	if (fd < 0)
		throw SystemError(env, "opening a transparent listener", -fd);
	return Napi::Number::New(env, fd);
}

Napi::Value OpenUnixListener(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::string path = info[0].As<Napi::String>();
	int fd = am_unix_listener_open(path.c_str(), info[1].As<Napi::Number>().Uint32Value(), info[2].As<Napi::Number>().Uint32Value(), 128);
	if (fd < 0)
		throw SystemError(env, ("listening on " + path).c_str(), -fd);
	return Napi::Number::New(env, fd);
}

Napi::Value LocalPort(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	char text[64];
	uint16_t port;
	if (getsockname(info[0].As<Napi::Number>().Int32Value(), reinterpret_cast<struct sockaddr *>(&address), &length) < 0)
		throw SystemError(env, "getsockname", errno);
	am_address_format(&address, text, &port);
	return Napi::Number::New(env, port);
}

Napi::Value SocketPair(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int fds[2];
	int result = am_socket_pair(fds);
	if (result < 0)
		throw SystemError(env, "socketpair", -result);
	Napi::Array pair = Napi::Array::New(env, 2);
	pair.Set(0u, fds[0]);
	pair.Set(1u, fds[1]);
	return pair;
}

struct Message {
	bool closed;
	std::string data;
	std::vector<int> fds;
};

struct Channel {
	int fd = -1;
	int wake[2] = { -1, -1 };
	std::thread thread;
	EventQueue<Message> queue;
};

Channel *channel;

void DeliverMessages(Napi::Env env, Napi::Function callback, std::vector<Message> &batch)
{
	for (Message &message : batch) {
		Napi::HandleScope scope(env);
		Napi::Array fds = Napi::Array::New(env, message.fds.size());
		for (size_t i = 0; i < message.fds.size(); i++)
			fds.Set(i, message.fds[i]);
		Napi::Value data = message.closed ? env.Undefined() :
						    Napi::Buffer<char>::Copy(env, message.data.data(), message.data.size());
		callback.Call({ data, fds });
	}
}

void ReadChannel(Channel *c)
{
	std::vector<char> buffer(AM_MESSAGE_MAX);
	for (;;) {
		struct pollfd wait[2] = { { c->fd, POLLIN, 0 }, { c->wake[0], POLLIN, 0 } };
		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			break;
		if (wait[1].revents != 0)
			return;
		if (wait[0].revents == 0)
			continue;
		Message message{};
		int fds[AM_MESSAGE_FDS];
		size_t nfds;
		int length = am_message_receive(c->fd, buffer.data(), buffer.size(), fds, &nfds);
		if (length == -EAGAIN || length == -EMSGSIZE)
			continue;
		message.closed = length <= 0;
		if (length > 0)
			message.data.assign(buffer.data(), length);
		message.fds.assign(fds, fds + nfds);
		bool closed = message.closed;
		c->queue.Push(std::move(message));
		if (closed)
			return;
	}
	c->queue.Push(Message{ true, {}, {} });
}

void OpenChannel(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	if (channel != nullptr)
		throw SystemError(env, "the message channel is open already", EALREADY);
	Channel *c = new Channel;
	c->fd = info[0].As<Napi::Number>().Int32Value();
	if (pipe2(c->wake, O_CLOEXEC | O_NONBLOCK) < 0) {
		int error = errno;
		delete c;
		throw SystemError(env, "pipe", error);
	}
	c->queue.Start(env, info[1].As<Napi::Function>(), "amptcp channel", DeliverMessages);
	c->thread = std::thread(ReadChannel, c);
	channel = c;
}

void CloseChannel(const Napi::CallbackInfo &)
{
	Channel *c = channel;
	if (c == nullptr)
		return;
	channel = nullptr;
	/* Hangs up the other end. */
	close(c->wake[1]);
	c->thread.join();
	c->queue.Stop();
	close(c->wake[0]);
	close(c->fd);
	delete c;
}

void SendMessage(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Napi::Uint8Array data = info[1].As<Napi::Uint8Array>();
	Napi::Array list = info[2].As<Napi::Array>();
	std::vector<int> fds;
	for (uint32_t i = 0; i < list.Length(); i++)
		fds.push_back(list.Get(i).As<Napi::Number>().Int32Value());
	int result = am_message_send(info[0].As<Napi::Number>().Int32Value(), data.Data(), data.ByteLength(), fds.data(), fds.size());
	if (result < 0)
		throw SystemError(env, "sending a message to the other process", -result);
}

Napi::Value RaiseFileLimit(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	uint64_t soft, hard;
	int result = am_raise_file_limit(&soft, &hard);
	if (result < 0)
		throw SystemError(env, "limit of open files", -result);
	Napi::Object limits = Napi::Object::New(env);
	limits.Set("soft", static_cast<double>(soft));
	limits.Set("hard", static_cast<double>(hard));
	return limits;
}

void DieWithParent(const Napi::CallbackInfo &)
{
#ifdef __linux__
	prctl(PR_SET_PDEATHSIG, SIGKILL);
#else
	int signal = SIGKILL;
	procctl(P_PID, 0, PROC_PDEATHSIG_CTL, &signal);
#endif
}

} // namespace

void InitDescriptors(Napi::Env env, Napi::Object exports)
{
	Napi::Object part = Napi::Object::New(env);
	part.Set("close", Napi::Function::New(env, Close));
	part.Set("reset", Napi::Function::New(env, Reset));
#ifdef __linux__
	part.Set("openTun", Napi::Function::New(env, OpenTun));
#endif
	part.Set("openListener", Napi::Function::New(env, OpenListener));
	part.Set("openUnixListener", Napi::Function::New(env, OpenUnixListener));
	part.Set("localPort", Napi::Function::New(env, LocalPort));
	part.Set("socketPair", Napi::Function::New(env, SocketPair));
	part.Set("openChannel", Napi::Function::New(env, OpenChannel));
	part.Set("sendMessage", Napi::Function::New(env, SendMessage));
	part.Set("closeChannel", Napi::Function::New(env, CloseChannel));
	part.Set("raiseFileLimit", Napi::Function::New(env, RaiseFileLimit));
	part.Set("dieWithParent", Napi::Function::New(env, DieWithParent));
	exports.Set("descriptors", part);
}

} // namespace amptcp
