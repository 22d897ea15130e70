package protocol

import (
	"fmt"
	"slices"
	"strings"
)

// Template names what a connection may do, up to one variable: the id of whoever
// connects. Rules of the callout grant templates, never subjects, so that nothing
// can be granted that is not written down here.
type Template string

// The templates of a fleet.
const (
	// TemplateDevice is for a device; its id is the device's.
	TemplateDevice Template = "device"
	// TemplateAdmin is for who reads everything and sends commands.
	TemplateAdmin Template = "admin"
	// TemplateObserver is for who reads everything and does nothing.
	TemplateObserver Template = "observer"
	// TemplateService is for a program beside the operator that follows what
	// devices say of themselves.
	TemplateService Template = "service"
)

// Templates are all templates.
func Templates() []Template {
	return []Template{TemplateDevice, TemplateAdmin, TemplateObserver, TemplateService}
}

// Account is the one account that a template is for: in another its subjects mean
// something else. It is empty for what is no template.
func (t Template) Account() string {
	switch t {
	case TemplateDevice, TemplateAdmin, TemplateObserver:
		return AccountDevices
	case TemplateService:
		return AccountState
	}
	return ""
}

// Role is what a connection with the template's permissions is in the fleet.
func (t Template) Role() Role {
	switch t {
	case TemplateDevice:
		return RoleDevice
	case TemplateAdmin:
		return RoleAdmin
	case TemplateObserver:
		return RoleObserver
	case TemplateService:
		return RoleService
	}
	return ""
}

// Permissions are the template's for id. An id that is not one lower-case DNS
// label, and so one token of a subject without wildcards, is an error that wraps
// [ErrInvalidID].
func (t Template) Permissions(id string) (Permissions, error) {
	if err := checkLabel(id); err != nil {
		return Permissions{}, fmt.Errorf("id %s of the %s: %w", quote(id), t, err)
	}
	switch t {
	case TemplateDevice:
		return DevicePermissions(DeviceID(id)), nil
	case TemplateAdmin:
		return AdminPermissions(id), nil
	case TemplateObserver:
		return ObserverPermissions(id), nil
	case TemplateService:
		return ServicePermissions(id), nil
	}
	return Permissions{}, fmt.Errorf("there is no template %s", quote(string(t)))
}

// ObserverPermissions are those of the observer called name, which must be valid.
// An observer reads the documents that an admin reads and hears doorbells and
// heartbeats. It does not hear commands: they name the inboxes at which admins wait
// for answers, and what an admin asks of a device is between the two.
func ObserverPermissions(name string) Permissions {
	return Permissions{
		Publish: slices.DeleteFunc(AdminPermissions(name).Publish, func(subject string) bool {
			return !strings.HasPrefix(subject, directGets)
		}),
		Subscribe: []string{AllDoorbells, AllHeartbeats, ObserverInboxPrefix(name) + ".>"},
	}
}

// ServicePermissions are those of the service called name, which must be valid. A
// service hears heartbeats, and info and status of every device as they are
// written. It may ask for nothing: JetStream is in its account, and the server
// does not check reply subjects, so with a single read a service could have an
// empty answer put onto the subject by which a stream is deleted.
//
// It may publish to itself, because the server takes an empty list for
// "everything".
func ServicePermissions(name string) Permissions {
	inbox := ServiceInboxPrefix(name) + ".>"
	return Permissions{
		Publish:   []string{inbox},
		Subscribe: []string{AllHeartbeats, BucketInfo.Subjects(), BucketStatus.Subjects(), inbox},
	}
}

// ObserverInboxPrefix is the inbox prefix of the observer called name. It is upper
// case, which no device id is, and not that of admins, under which devices may
// publish.
func ObserverInboxPrefix(name string) string { return "_INBOX_OBSERVER." + name }

// ServiceInboxPrefix is the inbox prefix of the service called name.
func ServiceInboxPrefix(name string) string { return "_INBOX_SERVICE." + name }
