// Package reconcile makes podman run what the device should run, and says how that
// goes.
//
// It exists to keep two promises: what does not differ is never touched, and one
// container's trouble is no other's. So each container is looked at by itself,
// by its name, with a deadline and its own pace of retries; a new image is there
// and the new container made before the old one is stopped; and a difference that
// the engine itself makes is noted once instead of being mended for ever. Foreign
// containers are not touched. It imports protocol, drift, mark, engine, desired, health,
// update, keep and, for their errors, secret and volume alone of this module.
package reconcile
