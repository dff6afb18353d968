package oci

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestHopelessManifests: what is wrong from its first bytes on costs no more
// than those.
func TestHopelessManifests(t *testing.T) {
	for name, body := range map[string]string{
		"deep lists":       strings.Repeat("[", MaxManifestSize),
		"deep objects":     strings.Repeat(`{"":`, MaxManifestSize/4),
		"deep in an image": image(`,"x":` + strings.Repeat("[", MaxManifestSize/2)),
		"one key for ever": "{" + strings.Repeat(`"":0,`, MaxManifestSize/5),
		"no end":           strings.Repeat(" ", MaxManifestSize),
	} {
		start := time.Now()
		if _, err := ParseManifest("", []byte(body)); !errors.Is(err, ManifestInvalid) || time.Since(start) > 5*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(start))
		}
	}
}
