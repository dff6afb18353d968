package memory

import (
	"testing"

	"berth/blob"
	"berth/blob/blobtest"
)

func TestStore(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return New() })
}
