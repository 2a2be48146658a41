import CIntrinsics
import Model
import Records

/// Asks for the cache lines of events to come, so that learning an event does not wait for memory: the features themselves, then the masters and the
/// resident weights that they name. Dense fields stay near by themselves, for every event touches them.
enum ReadAhead {
    /// So many events ahead the lines of weights are asked for: long enough for memory, short enough to stay in the first cache.
    private static var distance: Int { 4 }

    /// To be called before the event at `index` of a batch is learned, of those from `start` on. `slots` has `outputs` slots a feature.
    @inline(__always)
    static func prefetch<Slot>(
        _ examples: UnsafeMutableBufferPointer<Example>, at index: Int, from start: Int, _ features: UnsafeMutableBufferPointer<Feature>,
        slots: UnsafeMutablePointer<Slot>, outputs: Int, image: Image
    ) {
        guard let base = features.baseAddress, let first = examples.baseAddress else { return }
        let ahead = index &+ distance
        freshet_prefetch(first + (ahead &+ 4 &* distance))
        if ahead &+ distance < examples.count {
            // Fresh from the decoder they are near, but a batch that has waited may have left the cache.
            let example = examples[ahead &+ distance]
            for place in stride(from: Int(example.featuresStart), to: Int(example.featuresStart) &+ Int(example.featuresCount), by: 8) {
                freshet_prefetch(base + place)
            }
        }
        // The first event also asks for those between itself and the distance.
        var next = index == start ? index : ahead
        while next <= ahead, next < examples.count {
            let example = examples[next]
            for place in Int(example.featuresStart)..<Int(example.featuresStart) &+ Int(example.featuresCount) {
                let feature = Int(base[place].index)
                freshet_prefetch(slots + feature &* outputs)
                freshet_prefetch(image.line(image.layout.locate(feature).block))
            }
            next &+= 1
        }
    }
}
