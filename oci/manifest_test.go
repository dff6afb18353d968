package oci

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

const testDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func descriptor(mediaType string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":0}`, mediaType, testDigest)
}

func image(extra string) string {
	return `{"schemaVersion":2,"mediaType":"` + MediaTypeManifest + `","config":` + descriptor("application/vnd.oci.image.config.v1+json") +
		`,"layers":[` + descriptor("application/vnd.oci.image.layer.v1.tar") + `]` + extra + `}`
}

func index(extra string) string {
	return `{"schemaVersion":2,"mediaType":"` + MediaTypeIndex + `","manifests":[` + descriptor(MediaTypeManifest) + `]` + extra + `}`
}

func TestManifestsThatAreAccepted(t *testing.T) {
	docker := strings.Replace(image(""), MediaTypeManifest, MediaTypeDocker, 1)
	list := strings.Replace(index(""), MediaTypeIndex, MediaTypeDockerList, 1)
	untyped := strings.Replace(image(""), `"mediaType":"`+MediaTypeManifest+`",`, "", 1)
	untypedIndex := strings.Replace(index(""), `"mediaType":"`+MediaTypeIndex+`",`, "", 1)
	tests := []struct{ name, contentType, body, mediaType string }{
		{"image", MediaTypeManifest, image(""), MediaTypeManifest},
		{"image, type with parameter", MediaTypeManifest + "; charset=utf-8", image(""), MediaTypeManifest},
		{"image, no content type", "", image(""), MediaTypeManifest},
		{"image, application/json", "application/json", image(""), MediaTypeManifest},
		{"image without mediaType", MediaTypeManifest, untyped, MediaTypeManifest},
		{"neither", "", untyped, MediaTypeManifest},
		{"index", MediaTypeIndex, index(""), MediaTypeIndex},
		{"index without mediaType", "", untypedIndex, MediaTypeIndex},
		{"Docker image", MediaTypeDocker, docker, MediaTypeDocker},
		{"Docker list", MediaTypeDockerList, list, MediaTypeDockerList},
		{"keys of others", MediaTypeManifest, image(`,"x-vendor":{"a":1,"A":[{}]}`), MediaTypeManifest},
		{"annotations that differ in case", MediaTypeManifest, image(`,"annotations":{"key":"1","KEY":"2"}`), MediaTypeManifest},
		{"layer with urls", MediaTypeManifest, strings.Replace(image(""), `"layers":[{`, `"layers":[{"urls":["https://example.org/x"],`, 1), MediaTypeManifest},
		{"empty index", MediaTypeIndex, strings.Replace(index(""), descriptor(MediaTypeManifest), "", 1), MediaTypeIndex},
		{"64 deep", MediaTypeManifest, image(`,"x":` + strings.Repeat("[", 63) + `1` + strings.Repeat("]", 63)), MediaTypeManifest},
	}
	for _, test := range tests {
		m, err := ParseManifest(test.contentType, []byte(test.body))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if m.MediaType != test.mediaType {
			t.Errorf("%s: media type %q, want %q", test.name, m.MediaType, test.mediaType)
		}
	}
}

func TestArtifactType(t *testing.T) {
	m, err := ParseManifest("", []byte(image(`,"artifactType":"application/x"`)))
	if err != nil || m.ArtifactType != "application/x" {
		t.Errorf("artifactType given: %+v, %v", m, err)
	}
	m, err = ParseManifest("", []byte(image("")))
	if err != nil || m.ArtifactType != "application/vnd.oci.image.config.v1+json" {
		t.Errorf("artifactType from config: %+v, %v", m, err)
	}
	m, err = ParseManifest("", []byte(index("")))
	if err != nil || m.ArtifactType != "" {
		t.Errorf("an index without artifactType: %+v, %v", m, err)
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	layer := descriptor("application/vnd.oci.image.layer.v1.tar")
	tests := []struct{ name, contentType, body string }{
		{"nothing", MediaTypeManifest, ""},
		{"null", MediaTypeManifest, "null"},
		{"array", MediaTypeManifest, "[]"},
		{"text", MediaTypeManifest, "hello"},
		{"truncated", MediaTypeManifest, image("")[:100]},
		{"trailing data", MediaTypeManifest, image("") + "{}"},
		{"byte order mark", MediaTypeManifest, "\ufeff" + image("")},
		{"UTF-16", MediaTypeManifest, "\xff\xfe{\x00}\x00"},
		{"bad UTF-8", MediaTypeManifest, image(`,"x":"` + "\xff" + `"`)},
		{"other Content-Type", MediaTypeIndex, image("")},
		{"unknown type", "text/html", image("")},
		{"unknown mediaType", "", strings.Replace(image(""), MediaTypeManifest, "text/html", 1)},
		{"schema 1", mediaTypeDocker1JWS, `{"schemaVersion":1}`},
		{"schemaVersion 1", MediaTypeManifest, strings.Replace(image(""), `"schemaVersion":2`, `"schemaVersion":1`, 1)},
		{"no schemaVersion", MediaTypeManifest, strings.Replace(image(""), `"schemaVersion":2,`, ``, 1)},
		{"layers and manifests", MediaTypeManifest, image(`,"manifests":[]`)},
		{"index with layers", MediaTypeIndex, index(`,"layers":[]`)},
		{"index with config", MediaTypeIndex, index(`,"config":` + layer)},
		{"no layers", MediaTypeManifest, strings.Replace(image(""), `"layers"`, `"other"`, 1)},
		{"no config", MediaTypeManifest, strings.Replace(image(""), `"config"`, `"other"`, 1)},
		{"no manifests", MediaTypeIndex, strings.Replace(index(""), `"manifests"`, `"other"`, 1)},
		{"key twice", MediaTypeManifest, image(`,"layers":[]`)},
		{"key twice, escaped", MediaTypeManifest, image(`,"l\u0061yers":[]`)},
		{"key in another case", MediaTypeManifest, image(`,"Layers":[]`)},
		{"key in another case, folded", MediaTypeManifest, image(`,"layer\u017f":[]`)},
		{"key in another case below", MediaTypeManifest, strings.Replace(image(""), `"size"`, `"SIZE"`, 1)},
		{"key twice in annotations", MediaTypeManifest, image(`,"annotations":{"a":"1","a":"2"}`)},
		{"negative size", MediaTypeManifest, strings.Replace(image(""), `"size":0`, `"size":-1`, 1)},
		{"size beyond 2^63", MediaTypeManifest, strings.Replace(image(""), `"size":0`, `"size":9223372036854775808`, 1)},
		{"fractional size", MediaTypeManifest, strings.Replace(image(""), `"size":0`, `"size":0.5`, 1)},
		{"bad digest", MediaTypeManifest, strings.Replace(image(""), testDigest, "sha256:../../x", 1)},
		{"bad subject", MediaTypeManifest, image(`,"subject":{"mediaType":"a","digest":"md5:1","size":1}`)},
		{"layer without mediaType", MediaTypeManifest, image(`,"subject":{"digest":"` + testDigest + `","size":1}`)},
		{"65 deep", MediaTypeManifest, image(`,"x":` + strings.Repeat("[", 64) + `1` + strings.Repeat("]", 64))},
		{"10,001 layers", MediaTypeManifest, strings.Replace(image(""), `"layers":[`, `"layers":[`+strings.Repeat(layer+",", MaxDescriptors), 1)},
		{"too large", MediaTypeManifest, image(`,"x":"` + strings.Repeat("a", MaxManifestSize) + `"`)},
	}
	for _, test := range tests {
		start := time.Now()
		if m, err := ParseManifest(test.contentType, []byte(test.body)); !errors.Is(err, ManifestInvalid) {
			t.Errorf("%s: %+v, %v; want %v", test.name, m, err, ManifestInvalid)
		} else if strings.Contains(err.Error(), "document") || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: the error tells about the program: %v", test.name, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %v", test.name, took)
		}
	}
}

// What is refused must not have cost many times its size before.
func TestManyDescriptorsCostNothing(t *testing.T) {
	for _, list := range []string{"layers", "manifests"} {
		data := []byte(strings.Replace(image(""), `"layers":[`, `"`+list+`":[`+strings.Repeat("{},", MaxManifestSize/4), 1))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := ParseManifest(MediaTypeManifest, data); !errors.Is(err, ManifestInvalid) {
			t.Errorf("%s: %v, want %v", list, err, ManifestInvalid)
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
			t.Errorf("%s: %d bytes took %d bytes of memory", list, len(data), took)
		}
	}
}
