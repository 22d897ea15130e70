package protocol

import "time"

// Denial is why somebody may not connect: the value of the key in [BucketDenied]
// that is called like the device, or like whoever else the issuer knows by that
// name. The key alone keeps it out, whatever its value is worth; a deletion lets
// it back in.
type Denial struct {
	Version int      `json:"version"`
	Device  DeviceID `json:"device"`
	// By is who put it on the list, for people.
	By string `json:"by"`
	// Resource is the UID of the Device resource that says so; empty if it was
	// done by hand. The operator takes nobody off the list but on the word of the
	// same resource.
	Resource string `json:"resource,omitempty"`
	// Reason is a sentence for people.
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
}

// DecodeDenial reads an entry of the deny list. Its error wraps
// [ErrInvalidDocument] or [ErrInvalidID].
func DecodeDenial(data []byte) (*Denial, error) {
	d := new(Denial)
	if err := decode("denial", data, d); err != nil {
		return nil, err
	}
	return d, nil
}

// Encode renders the document, or says why it may not be sent.
func (d *Denial) Encode() ([]byte, error) { return encode("denial", d) }

// Validate reports the first thing that is wrong with the document.
func (d *Denial) Validate() error {
	if err := checkVersion(d.Version); err != nil {
		return err
	}
	if err := d.Device.Validate(); err != nil {
		return err
	}
	for _, text := range []struct{ field, value string }{{"by", d.By}, {"reason", d.Reason}} {
		if text.value == "" {
			return invalid(text.field, "is missing")
		}
	}
	for _, text := range []struct{ field, value string }{{"by", d.By}, {"resource", d.Resource}, {"reason", d.Reason}} {
		if err := checkText(text.field, text.value); err != nil {
			return err
		}
	}
	if d.Time.IsZero() {
		return invalid("time", "is missing")
	}
	return nil
}
