package oci

import (
	"strings"
	"testing"
)

// TestParseStored: what Distribution has taken, and ParseManifest would not.
func TestParseStored(t *testing.T) {
	d := string(DigestOf(SHA256, []byte("a")))
	entry := `{"digest": "` + d + `", "size": 1}`
	for doc, want := range map[string]string{
		`{"schemaVersion": 2, "config": ` + entry + `, "layers": null}`:                                                                 MediaTypeManifest,
		`{"schemaVersion": 2, "config": ` + entry + `, "layers": [` + entry + `]}`:                                                      MediaTypeManifest,
		`{"schemaVersion": 2, "layers": []}`:                                                                                            MediaTypeManifest,
		`{"schemaVersion": 2, "mediaType": "` + MediaTypeDocker + `", "MediaType": "` + MediaTypeDocker + `", "config": ` + entry + `}`: MediaTypeDocker,
		`{"schemaVersion": 2, "manifests": [` + entry + `]}`:                                                                            MediaTypeIndex,
		`{"schemaVersion": 2, "mediaType": "` + MediaTypeDockerList + `", "manifests": null}`:                                           MediaTypeDockerList,
	} {
		if _, err := ParseManifest("", []byte(doc)); err == nil {
			t.Errorf("ParseManifest takes %s", doc)
		}
		m, err := ParseStored([]byte(doc))
		if err != nil || m.MediaType != want {
			t.Errorf("%s: %+v, %v", doc, m, err)
		}
	}
	for doc, want := range map[string]string{
		`{"schemaVersion": 1, "name": "a", "fsLayers": []}`:                                            "schema 1",
		`{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.config.v1+json"}`:                "not that of a manifest",
		`{"schemaVersion": 2, "layers": [` + entry + `], "manifests": [` + entry + `]}`:                "layers and manifests",
		`{"schemaVersion": 2, "mediaType": "` + MediaTypeManifest + `", "manifests": [` + entry + `]}`: "layers and manifests",
		`{"schemaVersion": 2, "layers": [{"digest": "md5:00", "size": 1}]}`:                            "digest is not valid",
		`{"schemaVersion": 3, "layers": []}`:                                                           "schemaVersion",
		`{"schemaVersion": 2`:                                                                          "not valid JSON",
		`[]`:                                                                                           "wrong kind",
		strings.Repeat(" ", MaxManifestSize) + `{}`:                                                    "larger",
	} {
		if m, err := ParseStored([]byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %+v, %v, want %q", doc, m, err, want)
		}
	}
}
