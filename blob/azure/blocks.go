package azure

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"berth/blob"
	"berth/blob/bucket"
)

// maxBlocks is how many a blob may have.
const maxBlocks = 50_000

var errTooLong = fmt.Errorf("%w: it has more than %d blocks, so push it in larger pieces", blob.ErrTooLarge, maxBlocks)

// blocks are those of a blob that is not committed yet.
type blocks struct {
	driver *driver
	name   string
	word   string // of this writer
	blocksState
}

// blocksState names the blocks in order: those of one writer after the other.
type blocksState struct {
	Runs []run `json:"runs"`
	Size int64 `json:"size"` // of all
}

type run struct {
	Word   string `json:"word"`
	Blocks int    `json:"blocks"`
}

// Assemble implements bucket.Bucket.
func (d *driver) Assemble(ctx context.Context, name string, state []byte) (bucket.Assembly, error) {
	b := &blocks{driver: d, name: name, word: rand.Text()}
	if state == nil {
		return b, nil
	}
	if err := json.Unmarshal(state, &b.blocksState); err != nil {
		return nil, blob.ErrStale
	}
	return b, b.find(ctx)
}

// find looks whether all blocks are there.
func (b *blocks) find(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	list, err := b.driver.blob(b.name).GetBlockList(ctx, blockblob.BlockListTypeUncommitted, nil)
	if err = plain(ctx, err); errors.Is(err, blob.ErrNotExist) {
		return blob.ErrStale
	}
	if err != nil {
		return err
	}
	sizes := make(map[string]int64, len(list.UncommittedBlocks))
	for _, block := range list.UncommittedBlocks {
		if block.Name != nil && block.Size != nil {
			sizes[*block.Name] = *block.Size
		}
	}
	var size int64
	for _, id := range b.ids() {
		n, ok := sizes[id]
		if !ok {
			return blob.ErrStale
		}
		size += n
	}
	if size != b.Size {
		return blob.ErrStale
	}
	return nil
}

// blockID returns the name of a block: all have the same length.
func blockID(word string, n int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s%06d", word, n))
}

func (b *blocks) ids() []string {
	var ids []string
	for _, r := range b.Runs {
		for n := range r.Blocks {
			ids = append(ids, blockID(r.Word, n))
		}
	}
	return ids
}

// State implements bucket.Assembly.
func (b *blocks) State() ([]byte, error) { return json.Marshal(b.blocksState) }

// Add implements bucket.Assembly.
func (b *blocks) Add(ctx context.Context, part []byte) error {
	if len(b.Runs) == 0 || b.Runs[len(b.Runs)-1].Word != b.word {
		b.Runs = append(b.Runs, run{Word: b.word})
	}
	total := 0
	for _, r := range b.Runs {
		total += r.Blocks
	}
	if total >= maxBlocks {
		return errTooLong
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	mine := &b.Runs[len(b.Runs)-1]
	o := &blockblob.StageBlockOptions{TransactionalValidation: checksum(part)}
	if _, err := b.driver.blob(b.name).StageBlock(ctx, blockID(b.word, mine.Blocks), body(part), o); err != nil {
		return plain(ctx, err)
	}
	mine.Blocks++
	b.Size += int64(len(part))
	return nil
}

// Finish implements bucket.Assembly.
func (b *blocks) Finish(ctx context.Context, last []byte) (blob.Info, error) {
	if len(last) > 0 {
		if err := b.Add(ctx, last); err != nil {
			return blob.Info{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	word := rand.Text()
	made, err := b.driver.blob(b.name).CommitBlockList(ctx, b.ids(), &blockblob.CommitBlockListOptions{
		AccessConditions: absent(),
		HTTPHeaders:      headers(),
		Metadata:         map[string]*string{writerKey: &word},
	})
	if exists(err) || bloberror.HasCode(err, bloberror.InvalidBlockList) {
		info, err := b.driver.made(ctx, b.name, word)
		if errors.Is(err, blob.ErrNotExist) {
			err = blob.ErrStale // blocks are gone
		}
		return info, err
	}
	if err != nil {
		return blob.Info{}, plain(ctx, err)
	}
	return blob.Info{Size: b.Size, Stamp: stampOf(made.ETag)}, nil
}

// Drop implements bucket.Assembly. Blocks that nobody commits end by themselves.
func (b *blocks) Drop(context.Context) error { return nil }
