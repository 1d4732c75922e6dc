// Emits `log` every second: `node sender.mjs [SOCKET]`.
import { connect } from 'netcluster';

const client = await connect(process.argv[2]);
setInterval(() => client.emit('log', 'TESTE'), 1000);
