mod broken;
mod channel;
mod model;
mod script;
mod sender;
