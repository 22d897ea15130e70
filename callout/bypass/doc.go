// Package bypass finds ways past the callout in a broker: who comes in without
// being asked, and where what was granted reaches further than it says.
//
// It exists because the callout's word is worth as much as the configuration of the
// broker that asks it, and that is written by hand as often as by a chart. It reads
// the configuration file as the server does (nats-server's package conf), asks a
// running server's monitoring, and tries to come in itself. The deny list is looked
// at, too: who is on it comes in past the callout if that cannot read it, or if names
// go from it by themselves. It changes nothing.
//
// It may import protocol, and nothing else of this module.
package bypass
