package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// shape says which keys an object of a manifest may not have in another case,
// and the shape of what lies below them. Keys of a nil shape are free text.
type shape map[string]shape

var platformShape = shape{"architecture": nil, "os": nil, "os.version": nil, "os.features": nil, "variant": nil}

var descriptorShape = shape{
	"mediaType": nil, "digest": nil, "size": nil, "urls": nil, "annotations": nil,
	"data": nil, "artifactType": nil, "platform": platformShape,
}

var manifestShape = shape{
	"schemaVersion": nil, "mediaType": nil, "artifactType": nil, "annotations": nil,
	"config": descriptorShape, "layers": descriptorShape, "manifests": descriptorShape, "subject": descriptorShape,
}

// checkJSON refuses what encoding/json would let pass: keys given twice, keys
// of the specification in another case, and depth without end. It counts the
// descriptors too, as each takes many times the memory of its text.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return invalid("manifest is not UTF-8")
	}
	w := walker{dec: json.NewDecoder(bytes.NewReader(data))}
	w.dec.UseNumber()
	first, err := w.dec.Token()
	if err != nil {
		return invalid("manifest: %s", describeJSON(err))
	}
	if first != json.Delim('{') {
		return invalid("manifest must be a JSON object")
	}
	if err := w.object(manifestShape, 1); err != nil {
		return err
	}
	if _, err := w.dec.Token(); !errors.Is(err, io.EOF) {
		return invalid("manifest is followed by other data")
	}
	return nil
}

type walker struct {
	dec         *json.Decoder
	descriptors int // in lists
}

func (w *walker) object(s shape, depth int) error {
	seen := make(map[string]bool)
	for w.dec.More() {
		token, err := w.dec.Token()
		if err != nil {
			return invalid("manifest: %s", describeJSON(err))
		}
		key := token.(string) // the decoder refuses any other key
		if seen[key] {
			return invalid("manifest has the key %q twice", key)
		}
		seen[key] = true
		below, known := s[key]
		if !known && s.hasFolded(key) {
			return invalid("manifest has the key %q in the wrong case", key)
		}
		if err := w.value(below, depth); err != nil {
			return err
		}
	}
	return w.end()
}

func (w *walker) array(s shape, depth int) error {
	for w.dec.More() {
		if s != nil {
			w.descriptors++
		}
		if w.descriptors > MaxDescriptors {
			return invalid("manifest has more than %d descriptors", MaxDescriptors)
		}
		if err := w.value(s, depth); err != nil {
			return err
		}
	}
	return w.end()
}

// end reads the delimiter that closes an object or an array.
func (w *walker) end() error {
	if _, err := w.dec.Token(); err != nil {
		return invalid("manifest: %s", describeJSON(err))
	}
	return nil
}

func (w *walker) value(s shape, depth int) error {
	token, err := w.dec.Token()
	if err != nil {
		return invalid("manifest: %s", describeJSON(err))
	}
	if _, opens := token.(json.Delim); !opens {
		return nil
	}
	if depth++; depth > MaxManifestDepth {
		return invalid("manifest is nested deeper than %d", MaxManifestDepth)
	}
	if token == json.Delim('[') {
		return w.array(s, depth)
	}
	return w.object(s, depth)
}

func (s shape) hasFolded(key string) bool {
	for known := range s {
		if strings.EqualFold(known, key) {
			return true
		}
	}
	return false
}

// describeJSON says what is wrong with a document without naming Go types.
func describeJSON(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("not valid JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Sprintf("%q has a value of the wrong kind", kind.Field)
	default:
		return "not valid JSON"
	}
}
