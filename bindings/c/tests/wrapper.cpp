// The C++ wrapper against a broker: wrapper SOCKET. Ends with 0 if all holds.
#include <netcluster.hpp>

#include <cstdlib>
#include <cstring>
#include <future>
#include <iostream>
#include <vector>

#define CHECK(what)                                                              \
    if (!(what)) {                                                               \
        std::cerr << __FILE__ << ":" << __LINE__ << ": not true: " #what "\n";   \
        std::exit(1);                                                            \
    }

using namespace netcluster;
using namespace std::chrono_literals;

int main(int, char **words) {
    const char *broker = words[1];
    try {
        Client nowhere("/nowhere/socket");
        CHECK(false);
    } catch (const Error &error) {
        CHECK(error.code() == NETCLUSTER_BROKER_NOT_RUNNING);
        CHECK(std::strstr(error.what(), "netcluster serve"));
    }

    std::promise<std::string> thrown;
    std::promise<Message> kept;
    Options options;
    options.set(netcluster_options_set_channel, "of-c++").set(netcluster_options_set_echo, true);
    Client client(broker, options, [&](std::exception_ptr error) {
        try {
            std::rethrow_exception(error);
        } catch (const std::exception &told) {
            thrown.set_value(told.what());
        }
    });
    client.on("throw", [](const Message &) { throw std::runtime_error("by a listener"); });
    const uint64_t id = client.once("keep", [&](const Message &message) { kept.set_value(message); });
    Subscription events = client.subscribe("a.**");

    client.emit("throw", "");
    CHECK(thrown.get_future().get() == "by a listener");
    client.emit("keep", "this", NETCLUSTER_UTF8_TEXT);
    const Message message = kept.get_future().get();
    CHECK(message.event() == "keep" && message.data() == "this");
    CHECK(message.encoding() == NETCLUSTER_UTF8_TEXT);
    CHECK(!client.remove_listener(id));

    std::vector<Message> taken;
    for (int at = 0; at < 3; at++) client.emit("a.b", std::string(1, static_cast<char>('0' + at)));
    for (int at = 0; at < 3; at++) taken.push_back(events.next());
    taken.erase(taken.begin());
    CHECK(taken[0].data() == "1" && taken[1].data() == "2");
    CHECK(!events.next(1ms));
    client.disconnect();
    try {
        events.next();
        CHECK(false);
    } catch (const Error &error) {
        CHECK(error.code() == NETCLUSTER_DISCONNECTED);
    }
    std::cout << "wrapper: all holds\n";
}
