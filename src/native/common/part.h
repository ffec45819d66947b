// SPDX-License-Identifier: BSD-2-Clause
#ifndef AMPTCP_PART_H
#define AMPTCP_PART_H

#include <cerrno>
#include <memory>
#include <string>

#include "event_queue.h"

namespace amptcp {

/*
 * A part of the addon that runs native threads, once in a process. State has StopThreads(), after which none of them pushes
 * events any more, and StopQueues().
 */
template <typename State> class Part {
public:
	explicit constexpr Part(const char *name) : name_(name) {}

	/* `begin` fills the state it is given; it returns 0, or -errno when there is no thread to stop. */
	template <typename Begin> void Start(Napi::Env env, Begin begin)
	{
		if (state_ != nullptr)
			throw SystemError(env, (std::string("the ") + name_ + " has been started already").c_str(), EALREADY);
		auto state = std::make_unique<State>();
		int result = begin(*state);
		if (result < 0) {
			state->StopQueues();
			throw SystemError(env, (std::string("starting the ") + name_).c_str(), -result);
		}
		state_ = state.release();
	}

	/* Null unless it runs. */
	State *Get() const { return state_; }

	State &Running(Napi::Env env) const
	{
		if (state_ == nullptr)
			throw SystemError(env, (std::string("the ") + name_ + " has not been started").c_str(), EINVAL);
		return *state_;
	}

	void Stop()
	{
		if (state_ == nullptr)
			return;
		state_->StopThreads();
		state_->StopQueues();
		delete state_;
		state_ = nullptr;
	}

private:
	const char *name_;
	/* Not a smart pointer: at the end of the process it must not be taken down after Node has been. */
	State *state_ = nullptr;
};

} // namespace amptcp

#endif
