/* The whole of the C interface against a broker: api SOCKET. Ends with 0 if all holds. */
#define _POSIX_C_SOURCE 200809L
#include <netcluster.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SOME_MS 10000

static const char *broker;

#define CHECK(what)                                                                        \
    do {                                                                                   \
        if (!(what)) {                                                                     \
            fprintf(stderr, "%s:%d: not true: %s (last error: %s)\n", __FILE__, __LINE__,  \
                    #what, netcluster_last_error());                                       \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)
#define OK(call) CHECK((call) == NETCLUSTER_OK)

static netcluster_client *connected(const netcluster_options *options) {
    netcluster_client *client;
    OK(netcluster_connect(broker, options, &client));
    return client;
}

/* What a listener heard, for the test's thread. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int heard, destroyed, kinds[5];
    netcluster_message *kept;
    netcluster_client *client;
    netcluster_error errors[4];
} Ear;

static Ear *ear_new(void) {
    Ear *ear = calloc(1, sizeof *ear);
    CHECK(ear);
    pthread_mutex_init(&ear->mutex, NULL);
    pthread_cond_init(&ear->changed, NULL);
    return ear;
}

static void ear_free(Ear *ear) {
    pthread_mutex_destroy(&ear->mutex);
    pthread_cond_destroy(&ear->changed);
    free(ear);
}

static void count(Ear *ear, int *counter) {
    pthread_mutex_lock(&ear->mutex);
    ++*counter;
    pthread_cond_broadcast(&ear->changed);
    pthread_mutex_unlock(&ear->mutex);
}

static void wait_for(Ear *ear, const int *counter, int target) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 30;
    pthread_mutex_lock(&ear->mutex);
    while (*counter < target)
        CHECK(pthread_cond_timedwait(&ear->changed, &ear->mutex, &end) == 0);
    pthread_mutex_unlock(&ear->mutex);
}

static void hear(const netcluster_message *message, void *user) {
    Ear *ear = user;
    CHECK(netcluster_message_size(message) < 1 << 20);
    count(ear, &ear->heard);
}

static void hear_and_keep(const netcluster_message *message, void *user) {
    Ear *ear = user;
    ear->kept = netcluster_message_keep(message);
    /* Not ours: nothing happens. */
    netcluster_message_release((netcluster_message *)message);
    count(ear, &ear->heard);
}

static void destroy(void *user) {
    Ear *ear = user;
    count(ear, &ear->destroyed);
}

static void test_versions_and_names(void) {
    CHECK(strcmp(netcluster_version(), "0.1.0") == 0);
    CHECK(strcmp(netcluster_abi_version(), NETCLUSTER_ABI_VERSION) == 0);
    CHECK(strcmp(netcluster_error_name(NETCLUSTER_BROKER_NOT_RUNNING), "BROKER_NOT_RUNNING") == 0);
    CHECK(strcmp(netcluster_error_name(-1), "UNKNOWN") == 0);
}

static void test_misuse_gives_codes(void) {
    netcluster_client *client = (netcluster_client *)&client;
    netcluster_subscription *subscription;
    netcluster_message *message;
    netcluster_options *options = netcluster_options_new();
    Ear *ear = ear_new();
    char name[301] = {0};
    size_t size;
    const char *text;
    int at;

    CHECK(netcluster_connect(NULL, NULL, &client) == NETCLUSTER_POINTER && !client);
    CHECK(netcluster_connect(broker, NULL, NULL) == NETCLUSTER_POINTER);
    CHECK(netcluster_connect("/nowhere/socket", NULL, &client) == NETCLUSTER_BROKER_NOT_RUNNING);
    CHECK(strstr(netcluster_last_error(), "netcluster serve") && !client);
    CHECK(netcluster_options_set_channel(options, "\xff") == NETCLUSTER_UTF8);
    CHECK(netcluster_options_set_channel(NULL, "a") == NETCLUSTER_POINTER);
    memset(name, 'x', sizeof name - 1);
    for (at = 0; at < 2; at++) {
        CHECK(netcluster_options_set_channel(options, at ? name : "") == NETCLUSTER_NAME);
        CHECK(strstr(netcluster_last_error(), "channel name refused"));
        CHECK(netcluster_connect(broker, options, &client) == NETCLUSTER_NAME);
        CHECK(strstr(netcluster_last_error(), "channel name refused"));
    }
    CHECK(netcluster_options_set_name(options, name) == NETCLUSTER_NAME);
    CHECK(strstr(netcluster_last_error(), "client name refused"));
    CHECK(netcluster_connect("", NULL, &client) == NETCLUSTER_CONNECT);
    CHECK(strstr(netcluster_last_error(), "the path is empty"));
    CHECK(netcluster_connect(name, NULL, &client) == NETCLUSTER_CONNECT);
    CHECK(strstr(netcluster_last_error(), "the path has 300 bytes"));
    CHECK(netcluster_options_set_channel(options, NULL) == NETCLUSTER_POINTER);
    CHECK(netcluster_options_set_connect_timeout(options, -1) == NETCLUSTER_VALUE);
    netcluster_options_free(options);
    netcluster_options_free(NULL);

    client = connected(NULL);
    CHECK(netcluster_emit(NULL, "a", NULL, 0) == NETCLUSTER_POINTER);
    CHECK(netcluster_emit((netcluster_client *)((char *)client + 1), "a", NULL, 0) == NETCLUSTER_POINTER);
    CHECK(netcluster_emit(client, NULL, NULL, 0) == NETCLUSTER_POINTER);
    CHECK(netcluster_emit(client, "a", NULL, 1) == NETCLUSTER_POINTER);
    CHECK(netcluster_emit(client, "a", "", (size_t)-1) == NETCLUSTER_VALUE);
    CHECK(netcluster_emit(client, "a\xff", NULL, 0) == NETCLUSTER_UTF8);
    CHECK(netcluster_emit(client, "a.*", NULL, 0) == NETCLUSTER_NAME);
    CHECK(netcluster_emit(client, "", NULL, 0) == NETCLUSTER_NAME);
    CHECK(netcluster_emit_text(client, "a", "\xff") == NETCLUSTER_UTF8);
    CHECK(netcluster_emit_text(client, "a", NULL) == NETCLUSTER_POINTER);
    CHECK(netcluster_emit_encoded(client, "a", 3, NULL, 0) == NETCLUSTER_VALUE);
    CHECK(netcluster_try_emit(client, "a", -1, NULL, 0) == NETCLUSTER_VALUE);
    CHECK(netcluster_on(client, "log.>", hear, ear, destroy, NULL) == NETCLUSTER_PATTERN);
    CHECK(netcluster_on(client, NULL, hear, ear, destroy, NULL) == NETCLUSTER_POINTER);
    CHECK(netcluster_on(client, "a", NULL, ear, destroy, NULL) == NETCLUSTER_POINTER);
    CHECK(netcluster_on(NULL, "a", hear, ear, destroy, NULL) == NETCLUSTER_POINTER);
    CHECK(netcluster_on_lifecycle(NULL, NULL, ear, destroy) == NETCLUSTER_POINTER);
    CHECK(ear->destroyed == 5);
    CHECK(netcluster_subscribe(client, "", &subscription) == NETCLUSTER_PATTERN && !subscription);
    CHECK(netcluster_next(NULL, 0, &message, NULL) == NETCLUSTER_POINTER && !message);
    CHECK(netcluster_message_text(NULL, &text, &size) == NETCLUSTER_POINTER);
    CHECK(netcluster_wait_for_cluster(client, -1) == NETCLUSTER_VALUE);
    CHECK(!netcluster_message_event(NULL) && !netcluster_message_data(NULL));
    CHECK(netcluster_message_size(NULL) == 0 && netcluster_message_sequence(NULL) == 0);
    CHECK(!netcluster_message_keep(NULL) && netcluster_is_closed(NULL));
    CHECK(!netcluster_remove_listener(client, 12345) && !netcluster_remove_listener(NULL, 1));
    netcluster_message_release(NULL);
    netcluster_subscription_free(NULL);
    netcluster_string_free(NULL);
    netcluster_client_free(NULL);
    netcluster_client_free(client);
    ear_free(ear);
}

static void test_payloads_are_what_their_emitter_says(void) {
    netcluster_client *emitter = connected(NULL), *listener = connected(NULL);
    netcluster_subscription *all;
    netcluster_message *message, *again;
    const char *text;
    char *large = malloc(100000);
    size_t size;

    OK(netcluster_subscribe(listener, "data.**", &all));
    OK(netcluster_emit(emitter, "data.bytes", "\0\xff\0", 3));
    OK(netcluster_emit_text(emitter, "data.text", "gr\xc3\xbc\xc3\x9f"));
    OK(netcluster_emit_json(emitter, "data.json", "[1,2]"));
    OK(netcluster_try_emit(emitter, "data.wrong", NETCLUSTER_UTF8_TEXT, "\xff", 1));
    memset(large, 'x', 100000);
    OK(netcluster_emit_encoded(emitter, "data.large", NETCLUSTER_BYTES, large, 100000));

    OK(netcluster_next(all, SOME_MS, &message, NULL));
    CHECK(strcmp(netcluster_message_event(message), "data.bytes") == 0);
    CHECK(netcluster_message_encoding(message) == NETCLUSTER_BYTES);
    CHECK(netcluster_message_size(message) == 3);
    CHECK(memcmp(netcluster_message_data(message), "\0\xff\0", 3) == 0);
    CHECK((size_t)netcluster_message_data(message) % 8 == 0);
    CHECK(netcluster_message_sequence(message) == 1);
    CHECK(netcluster_message_source(message).client == netcluster_client_source(emitter).client);
    CHECK(netcluster_message_text(message, &text, &size) == NETCLUSTER_TEXT);
    again = netcluster_message_keep(message);
    netcluster_message_release(message);
    CHECK(netcluster_message_size(again) == 3);
    netcluster_message_release(again);

    OK(netcluster_next(all, SOME_MS, &message, NULL));
    CHECK(netcluster_message_encoding(message) == NETCLUSTER_UTF8_TEXT);
    OK(netcluster_message_text(message, &text, &size));
    CHECK(size == 6 && memcmp(text, "gr\xc3\xbc\xc3\x9f", 6) == 0);
    netcluster_message_release(message);
    OK(netcluster_next(all, SOME_MS, &message, NULL));
    CHECK(netcluster_message_encoding(message) == NETCLUSTER_JSON);
    netcluster_message_release(message);
    OK(netcluster_next(all, SOME_MS, &message, NULL));
    CHECK(netcluster_message_encoding(message) == NETCLUSTER_UTF8_TEXT);
    CHECK(netcluster_message_text(message, &text, &size) == NETCLUSTER_TEXT);
    netcluster_message_release(message);
    OK(netcluster_next(all, SOME_MS, &message, NULL));
    CHECK(netcluster_message_size(message) == 100000);
    CHECK(memcmp(netcluster_message_data(message), large, 100000) == 0);
    CHECK(netcluster_next(all, 0, &again, NULL) == NETCLUSTER_TIMEOUT && !again);
    CHECK(netcluster_next(all, 1, &again, NULL) == NETCLUSTER_TIMEOUT);
    netcluster_client_free(emitter);
    netcluster_subscription_free(all);
    netcluster_client_free(listener);
    /* It outlives all that it came by. */
    CHECK(memcmp(netcluster_message_data(message), large, 100000) == 0);
    netcluster_message_release(message);
    free(large);
}

static void test_payloads_over_the_limit_are_refused(void) {
    netcluster_client *client = connected(NULL);
    size_t size = netcluster_max_payload(client) + 1;
    char *huge = calloc(1, size);
    CHECK(huge);
    CHECK(netcluster_emit(client, "huge", huge, size) == NETCLUSTER_PAYLOAD_TOO_LARGE);
    CHECK(netcluster_try_emit(client, "huge", 0, huge, size) == NETCLUSTER_PAYLOAD_TOO_LARGE);
    OK(netcluster_emit(client, "small", huge, 1));
    netcluster_client_free(client);
    free(huge);
}

static void test_listeners_are_added_called_and_removed(void) {
    netcluster_client *emitter = connected(NULL), *listener = connected(NULL);
    Ear *on = ear_new(), *once = ear_new(), *first = ear_new();
    uint64_t on_id, first_id;
    netcluster_audience audience;
    char *names;

    OK(netcluster_on(listener, "a.*", hear_and_keep, on, destroy, &on_id));
    OK(netcluster_once(listener, "a.b", hear, once, destroy, NULL));
    OK(netcluster_prepend_listener(listener, "a.**", hear, first, NULL, &first_id));
    CHECK(netcluster_listener_count(listener, "a.*") == 1);
    CHECK(netcluster_listener_count(listener, NULL) == 3);
    OK(netcluster_event_names(listener, &names));
    CHECK(strcmp(names, "[\"a.*\",\"a.**\",\"a.b\"]") == 0);
    netcluster_string_free(names);
    OK(netcluster_count_audience(emitter, "a.b", &audience));
    CHECK(audience.clients == 1 && audience.brokers == 0);
    OK(netcluster_emit_text(emitter, "a.b", "one"));
    wait_for(on, &on->heard, 1);
    CHECK(strcmp(netcluster_message_event(on->kept), "a.b") == 0);
    CHECK(memcmp(netcluster_message_data(on->kept), "one", 3) == 0);
    netcluster_message_release(on->kept);
    OK(netcluster_emit_text(emitter, "a.b", "two"));
    wait_for(on, &on->heard, 2);
    netcluster_message_release(on->kept);
    CHECK(first->heard == 2 && once->heard == 1);
    wait_for(once, &once->destroyed, 1);

    CHECK(netcluster_remove_listener(listener, on_id));
    CHECK(!netcluster_remove_listener(listener, on_id));
    OK(netcluster_emit(emitter, "a.b", NULL, 0));
    wait_for(first, &first->heard, 3);
    wait_for(on, &on->destroyed, 1);
    CHECK(on->heard == 2);
    CHECK(netcluster_remove_all_listeners(listener, "a.**") == 1);
    CHECK(netcluster_remove_all_listeners(listener, NULL) == 0);
    netcluster_client_free(emitter);
    netcluster_client_free(listener);
    ear_free(on);
    ear_free(once);
    ear_free(first);
}

static void call_inside(const netcluster_message *message, void *user) {
    Ear *ear = user;
    (void)message;
    ear->errors[0] = netcluster_ping(ear->client, NULL);
    ear->errors[1] = netcluster_emit_text(ear->client, "answer", "42");
    ear->errors[2] = netcluster_on(ear->client, "more", hear, ear, NULL, NULL);
    count(ear, &ear->heard);
}

static void free_inside(const netcluster_message *message, void *user) {
    Ear *ear = user;
    (void)message;
    netcluster_client_free(ear->client);
    count(ear, &ear->heard);
}

static void test_listeners_may_call_their_client(void) {
    netcluster_client *other = connected(NULL);
    netcluster_subscription *answers;
    netcluster_message *message;
    Ear *ear = ear_new();

    ear->client = connected(NULL);
    OK(netcluster_subscribe(other, "answer", &answers));
    OK(netcluster_on(ear->client, "question", call_inside, ear, destroy, NULL));
    OK(netcluster_on(ear->client, "end", free_inside, ear, destroy, NULL));
    OK(netcluster_emit(other, "question", NULL, 0));
    OK(netcluster_next(answers, SOME_MS, &message, NULL));
    netcluster_message_release(message);
    wait_for(ear, &ear->heard, 1);
    CHECK(ear->errors[0] == NETCLUSTER_INSIDE_LISTENER);
    CHECK(ear->errors[1] == NETCLUSTER_OK && ear->errors[2] == NETCLUSTER_OK);
    OK(netcluster_emit(other, "end", NULL, 0));
    wait_for(ear, &ear->destroyed, 2);
    netcluster_subscription_free(answers);
    netcluster_client_free(other);
    ear_free(ear);
}

static void *flood(void *user) {
    int at;
    for (at = 0; at < 5000; at++)
        OK(netcluster_emit(user, "flood", &at, sizeof at));
    return NULL;
}

static void test_several_threads_use_one_client(void) {
    netcluster_client *emitter = connected(NULL), *listener = connected(NULL);
    netcluster_subscription *events;
    netcluster_message *message;
    pthread_t threads[4];
    uint64_t nanoseconds;
    int at;

    OK(netcluster_subscribe(listener, "flood", &events));
    for (at = 0; at < 4; at++)
        CHECK(pthread_create(&threads[at], NULL, flood, emitter) == 0);
    for (at = 1; at <= 20000; at++) {
        OK(netcluster_next(events, SOME_MS, &message, NULL));
        CHECK(netcluster_message_sequence(message) == (uint64_t)at);
        netcluster_message_release(message);
    }
    for (at = 0; at < 4; at++)
        pthread_join(threads[at], NULL);
    OK(netcluster_flush(emitter));
    OK(netcluster_ping(emitter, &nanoseconds));
    CHECK(nanoseconds > 0 && netcluster_confirmed_sequence(emitter) == 20000);
    CHECK(netcluster_last_sequence(emitter) == 20000);
    netcluster_subscription_free(events);
    netcluster_client_free(emitter);
    netcluster_client_free(listener);
}

static void *wait_in_next(void *user) {
    netcluster_message *message;
    netcluster_error error = netcluster_next(user, -1, &message, NULL);
    return error == NETCLUSTER_DISCONNECTED && !message ? user : NULL;
}

static void test_a_client_that_disconnected_says_so(void) {
    netcluster_client *client = connected(NULL);
    netcluster_subscription *events;
    pthread_t waits;
    void *woken;
    char *json = (char *)1;

    OK(netcluster_subscribe(client, "a", &events));
    CHECK(pthread_create(&waits, NULL, wait_in_next, events) == 0);
    OK(netcluster_emit_text(client, "a", "b"));
    OK(netcluster_disconnect(client));
    CHECK(netcluster_is_closed(client));
    pthread_join(waits, &woken);
    CHECK(woken == events);
    OK(netcluster_disconnect(client));
    CHECK(netcluster_emit(client, "a", NULL, 0) == NETCLUSTER_DISCONNECTED);
    CHECK(netcluster_try_emit(client, "a", 0, NULL, 0) == NETCLUSTER_DISCONNECTED);
    CHECK(netcluster_on(client, "b", hear, NULL, NULL, NULL) == NETCLUSTER_DISCONNECTED);
    CHECK(netcluster_status(client, &json) == NETCLUSTER_DISCONNECTED && !json);
    CHECK(strstr(netcluster_last_error(), "connect anew"));
    CHECK(netcluster_control(client, "{}", &json) == NETCLUSTER_DISCONNECTED && !json);
    netcluster_subscription_free(events);
    netcluster_client_free(client);
}

static void test_options_reach_the_broker(void) {
    netcluster_options *options = netcluster_options_new();
    netcluster_client *client;
    netcluster_subscription *own;
    netcluster_message *message;
    char *json;

    OK(netcluster_options_set_channel(options, "of-c"));
    OK(netcluster_options_set_name(options, "a name of C"));
    OK(netcluster_options_set_echo(options, true));
    OK(netcluster_options_set_shared_memory(options, false));
    OK(netcluster_options_set_spin(options, 0));
    OK(netcluster_options_set_max_queue(options, 64 << 20));
    OK(netcluster_options_set_max_buffer(options, 1 << 20));
    OK(netcluster_options_set_reconnect(options, false));
    OK(netcluster_options_set_connect_timeout(options, SOME_MS));
    OK(netcluster_options_set_disconnect_timeout(options, SOME_MS));
    OK(netcluster_options_set_wait_for_broker(options, SOME_MS));
    OK(netcluster_options_set_wait_for_cluster(options, SOME_MS));
    client = connected(options);
    netcluster_options_free(options);
    OK(netcluster_status(client, &json));
    CHECK(strstr(json, "a name of C") && strstr(json, "of-c"));
    netcluster_string_free(json);
    OK(netcluster_control(client, "{\"do\":\"clients\",\"limit\":1000}", &json));
    CHECK(strstr(json, "a name of C") && strstr(json, "\"omitted\":0"));
    netcluster_string_free(json);
    CHECK(netcluster_control(client, "{\"do\":\"dance\"}", &json) != NETCLUSTER_OK && !json);
    CHECK(strstr(netcluster_last_error(), "dance"));
    CHECK(netcluster_control(client, NULL, &json) == NETCLUSTER_POINTER && !json);
    OK(netcluster_subscribe(client, "own", &own));
    OK(netcluster_emit(client, "own", NULL, 0));
    OK(netcluster_next(own, SOME_MS, &message, NULL));
    netcluster_message_release(message);
    OK(netcluster_wait_for_cluster(client, SOME_MS));
    netcluster_subscription_free(own);
    netcluster_client_free(client);
}

static void note_lifecycle(const netcluster_lifecycle *event, void *user) {
    Ear *ear = user;
    CHECK(event->text && *event->text);
    if (event->kind == NETCLUSTER_LIFECYCLE_LOST)
        CHECK(event->lost.reason == NETCLUSTER_LOSS_OVERFLOW);
    if (event->kind == NETCLUSTER_LIFECYCLE_CLOSED)
        CHECK(event->code == NETCLUSTER_DISCONNECTED);
    count(ear, &ear->kinds[event->kind]);
}

static void test_losses_are_told_at_their_place(void) {
    netcluster_options *options = netcluster_options_new();
    netcluster_client *emitter = connected(NULL), *listener;
    netcluster_subscription *events;
    netcluster_message *message;
    netcluster_lost lost;
    netcluster_error error;
    Ear *ear = ear_new();
    char *block = calloc(1, 64 << 10);
    uint64_t expected = 1, missing = 0;
    int at;

    OK(netcluster_options_set_latest(options, true));
    OK(netcluster_options_set_shared_memory(options, false));
    listener = connected(options);
    netcluster_options_free(options);
    OK(netcluster_on_lifecycle(listener, note_lifecycle, ear, destroy));
    OK(netcluster_subscribe(listener, "block", &events));
    /* 64 MiB, of which nobody takes any: more than all queues hold. */
    for (at = 0; at < 1024; at++)
        OK(netcluster_emit(emitter, "block", block, 64 << 10));
    OK(netcluster_ping(emitter, NULL));
    while (expected <= 1024) {
        error = netcluster_next(events, SOME_MS, &message, &lost);
        if (error == NETCLUSTER_LOST) {
            CHECK(lost.has_count && lost.has_source && lost.reason == NETCLUSTER_LOSS_OVERFLOW);
            CHECK(lost.source.client == netcluster_client_source(emitter).client);
            expected += lost.count;
            missing += lost.count;
            continue;
        }
        CHECK(error == NETCLUSTER_OK);
        CHECK(netcluster_message_sequence(message) == expected++);
        netcluster_message_release(message);
    }
    CHECK(missing > 0 && ear->kinds[NETCLUSTER_LIFECYCLE_LOST] > 0);
    OK(netcluster_disconnect(listener));
    CHECK(ear->kinds[NETCLUSTER_LIFECYCLE_DISCONNECT] == 1 && ear->kinds[NETCLUSTER_LIFECYCLE_CLOSED] == 1);
    netcluster_subscription_free(events);
    netcluster_client_free(listener);
    wait_for(ear, &ear->destroyed, 1);
    netcluster_client_free(emitter);
    ear_free(ear);
    free(block);
}

static void test_a_forked_child_must_connect_anew(void) {
    netcluster_client *client = connected(NULL);
    netcluster_subscription *events;
    netcluster_message *message;
    int status;
    pid_t child;

    OK(netcluster_flush(client));
    OK(netcluster_subscribe(client, "from-the-child", &events));
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        netcluster_client *own;
        const char *end = "exit 0";
        if (netcluster_emit(client, "a", NULL, 0) != NETCLUSTER_FORKED)
            end = "exit 2";
        else if (netcluster_connect(broker, NULL, &own) != NETCLUSTER_OK)
            end = "exit 3";
        else if (netcluster_emit(own, "from-the-child", NULL, 0) != NETCLUSTER_OK)
            end = "exit 4";
        else if (netcluster_disconnect(own) != NETCLUSTER_OK)
            end = "exit 5";
        /* Another program, which no tool accounts for what the parent's threads hold. */
        execl("/bin/sh", "sh", "-c", end, (char *)NULL);
        _exit(6);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    OK(netcluster_next(events, SOME_MS, &message, NULL));
    netcluster_message_release(message);
    OK(netcluster_ping(client, NULL));
    netcluster_subscription_free(events);
    netcluster_client_free(client);
}

int main(int count, char **words) {
    CHECK(count == 2);
    broker = words[1];
    test_versions_and_names();
    test_misuse_gives_codes();
    test_payloads_are_what_their_emitter_says();
    test_payloads_over_the_limit_are_refused();
    test_listeners_are_added_called_and_removed();
    test_listeners_may_call_their_client();
    test_several_threads_use_one_client();
    test_a_client_that_disconnected_says_so();
    test_options_reach_the_broker();
    test_losses_are_told_at_their_place();
    test_a_forked_child_must_connect_anew();
    puts("api: all holds");
    return 0;
}
