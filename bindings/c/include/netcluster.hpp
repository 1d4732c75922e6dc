// C++17 over netcluster.h: handles that free themselves, std::string_view, std::function,
// and errors as exceptions. Everything else is as in the C header.
#ifndef NETCLUSTER_HPP
#define NETCLUSTER_HPP

#include "netcluster.h"

#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace netcluster {

// What a call failed with: `code()`, and in words what to do about it.
class Error : public std::runtime_error {
public:
    explicit Error(netcluster_error code) : runtime_error(netcluster_last_error()), code_(code) {}
    netcluster_error code() const noexcept { return code_; }

private:
    netcluster_error code_;
};

inline void check(netcluster_error code) {
    if (code != NETCLUSTER_OK) throw Error(code);
}

// An event. In a listener it is a view; a copy is kept, and counted.
class Message {
public:
    Message(const Message &other) : raw_(netcluster_message_keep(other.raw_)) {}
    Message(Message &&other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
    Message &operator=(Message other) noexcept { std::swap(raw_, other.raw_); return *this; }
    ~Message() { netcluster_message_release(const_cast<netcluster_message *>(raw_)); }

    std::string_view event() const { return netcluster_message_event(raw_); }
    std::string_view data() const {
        return {static_cast<const char *>(netcluster_message_data(raw_)), netcluster_message_size(raw_)};
    }
    netcluster_encoding encoding() const { return netcluster_message_encoding(raw_); }
    netcluster_source source() const { return netcluster_message_source(raw_); }
    uint64_t sequence() const { return netcluster_message_sequence(raw_); }

private:
   friend class Client; friend class Subscription;
    explicit Message(const netcluster_message *raw) : raw_(raw) {}
    const netcluster_message *raw_;
};

using Listener = std::function<void(const Message &)>;

// Options of a connection: `Options().set(netcluster_options_set_channel, "prices")`.
class Options {
public:
    Options() : raw_(netcluster_options_new(), netcluster_options_free) {}
    template <typename Value, typename Given>
    Options &set(netcluster_error (*setter)(netcluster_options *, Value), Given value) {
        check(setter(raw_.get(), value));
        return *this;
    }
    const netcluster_options *raw() const { return raw_.get(); }

private:
    std::unique_ptr<netcluster_options, decltype(&netcluster_options_free)> raw_;
};

// Messages to be taken, in a loop. Ends with its scope.
class Subscription {
public:
    // The next message; nothing after this time. Throws Error: NETCLUSTER_LOST where events are
    // missing (others follow), NETCLUSTER_DISCONNECTED when none will come.
    std::optional<Message> next(std::chrono::milliseconds timeout) { return take(timeout.count()); }
    Message next() { return *take(-1); }

private:
    friend class Client;
    explicit Subscription(netcluster_subscription *raw) : raw_(raw, netcluster_subscription_free) {}
    std::optional<Message> take(int64_t milliseconds) {
        netcluster_message *message;
        const netcluster_error code = netcluster_next(raw_.get(), milliseconds, &message, nullptr);
        if (code == NETCLUSTER_TIMEOUT) return std::nullopt;
        check(code);
        return Message(message);
    }
    std::unique_ptr<netcluster_subscription, decltype(&netcluster_subscription_free)> raw_;
};

// A connection. Any thread may use it. Listeners run on its own thread; one that throws is
// told to `on_error`, or on stderr, and stays.
class Client {
public:
    using OnError = std::function<void(std::exception_ptr)>;

    explicit Client(const char *path = nullptr, const Options &options = Options(), OnError on_error = print)
        : raw_(connect(path, options), netcluster_client_free), on_error_(std::move(on_error)) {}

    void emit(const char *event, std::string_view data, netcluster_encoding encoding = NETCLUSTER_BYTES) {
        check(netcluster_emit_encoded(raw_.get(), event, encoding, data.data(), data.size()));
    }
    uint64_t on(const char *pattern, Listener listener) { return add(netcluster_on, pattern, std::move(listener)); }
    uint64_t once(const char *pattern, Listener listener) { return add(netcluster_once, pattern, std::move(listener)); }
    bool remove_listener(uint64_t id) { return netcluster_remove_listener(raw_.get(), id); }
    Subscription subscribe(const char *pattern) {
        netcluster_subscription *subscription;
        check(netcluster_subscribe(raw_.get(), pattern, &subscription));
        return Subscription(subscription);
    }
    void flush() { check(netcluster_flush(raw_.get())); }
    void disconnect() { check(netcluster_disconnect(raw_.get())); }
    netcluster_client *raw() const { return raw_.get(); }

private:
    struct Call { Listener listener; OnError on_error; };

    static netcluster_client *connect(const char *path, const Options &options) {
        netcluster_client *client;
        check(path ? netcluster_connect(path, options.raw(), &client)
                   : netcluster_connect_default(options.raw(), &client));
        return client;
    }
    template <typename Add> uint64_t add(Add adder, const char *pattern, Listener listener) {
        uint64_t id;
        auto call = std::make_unique<Call>(Call{std::move(listener), on_error_});
        check(adder(raw_.get(), pattern, run, call.release(), destroy, &id));
        return id;
    }
    static void run(const netcluster_message *raw, void *user) noexcept {
        Call *call = static_cast<Call *>(user);
        const Message message(raw);
        try { call->listener(message); } catch (...) { call->on_error(std::current_exception()); }
    }
    static void destroy(void *user) noexcept { delete static_cast<Call *>(user); }
    static void print(std::exception_ptr error) noexcept {
        try { std::rethrow_exception(error); }
        catch (const std::exception &told) { std::fprintf(stderr, "netcluster: a listener threw: %s\n", told.what()); }
        catch (...) { std::fprintf(stderr, "netcluster: a listener threw\n"); }
    }
    std::unique_ptr<netcluster_client, decltype(&netcluster_client_free)> raw_;
    OnError on_error_;
};

}  // namespace netcluster

#endif
