/// The value of a Prometheus page's sample whose name and labels contain all of these texts; the sum if there are several.
public func metric(_ page: String, _ name: String, _ labels: String...) -> Double? {
    var sum: Double?
    for line in page.split(separator: "\n") where line.hasPrefix(name + "{") || line.hasPrefix(name + " ") {
        guard labels.allSatisfy({ line.contains($0) }), let value = line.split(separator: " ").last.flatMap({ Double($0) }) else { continue }
        sum = (sum ?? 0) + value
    }
    return sum
}
