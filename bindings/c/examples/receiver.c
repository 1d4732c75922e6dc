/* Prints `log` events until it is interrupted, or the client ended for good.
 *
 *   cc receiver.c $(pkg-config --cflags --libs netcluster) -o receiver */
#include <netcluster.h>
#include <stdio.h>

static void on_log(const netcluster_message *message, void *user) {
    (void)user;
    printf("%.*s\n", (int)netcluster_message_size(message),
           (const char *)netcluster_message_data(message));
    fflush(stdout);
}

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, netcluster_last_error());
    return 1;
}

int main(void) {
    netcluster_client *client;
    netcluster_subscription *stop;
    netcluster_message *message;

    if (netcluster_connect_default(NULL, &client) != NETCLUSTER_OK)
        return fail("connect");
    if (netcluster_on(client, "log", on_log, NULL, NULL, NULL) != NETCLUSTER_OK)
        return fail("on");

    /* The pull style, beside it: waits for the event `stop`. */
    if (netcluster_subscribe(client, "stop", &stop) != NETCLUSTER_OK)
        return fail("subscribe");
    fprintf(stderr, "listening\n");
    if (netcluster_next(stop, -1, &message, NULL) != NETCLUSTER_OK)
        return fail("next");
    netcluster_message_release(message);
    netcluster_subscription_free(stop);

    netcluster_disconnect(client);
    netcluster_client_free(client);
    return 0;
}
