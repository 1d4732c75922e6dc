//Create localserver
var netcluster = require('netcluster').pipedserver();

//Uses a pipe to stablish localserver -in Unix, you should use /var/run/mysocket
netcluster.initlocalserver('\\\\?\\pipe\\netcluster-default');

//Connect to UDP BUS on the following port and multicast address.
netcluster.connectudp(4454,'224.0.0.0');
