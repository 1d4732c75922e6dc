/* Emits a `log` event for each argument, then `stop`; without arguments `TESTE` once.
 *
 *   cc sender.c $(pkg-config --cflags --libs netcluster) -o sender */
#include <netcluster.h>
#include <stdio.h>

static int check(netcluster_error error, const char *what) {
    if (error == NETCLUSTER_OK)
        return 0;
    fprintf(stderr, "%s: %s\n", what, netcluster_last_error());
    return 1;
}

int main(int count, char **words) {
    netcluster_client *client;
    int at;

    if (check(netcluster_connect_default(NULL, &client), "connect"))
        return 1;
    if (count < 2 && check(netcluster_emit_text(client, "log", "TESTE"), "emit"))
        return 1;
    for (at = 1; at < count; at++) {
        if (check(netcluster_emit_text(client, "log", words[at]), "emit"))
            return 1;
    }
    if (count >= 2 && check(netcluster_emit(client, "stop", NULL, 0), "emit"))
        return 1;

    /* Returns once all of it is queued at every listener. */
    if (check(netcluster_disconnect(client), "disconnect"))
        return 1;
    netcluster_client_free(client);
    return 0;
}
