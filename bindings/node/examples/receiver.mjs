// Prints `log` events: `node receiver.mjs [SOCKET]`.
import { connect } from 'netcluster';

const client = await connect(process.argv[2]);
client.on('log', (message) => console.log(message.data));
