//Create Client
var netcluster = require('netcluster').pipedclient();

//Bind to local server
netcluster.connect('\\\\?\\pipe\\netcluster-default', function () {
    function loop() {

        //Emit event
        netcluster.emit('log', 'TESTE');
        setTimeout(loop, 1000);
    }

    loop();

});
