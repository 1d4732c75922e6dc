//Create Client
var netcluster = require('netcluster').pipedclient();

//Connect to server through pipe
netcluster.connect('\\\\?\\pipe\\netcluster-default', function () {
    //Callback once connected we set client up.
    netcluster.on('log', function (msg) {
        console.log('A called:' + JSON.stringify(msg));
        //netcluster.disconnect();
    });
});
