/// What makes a page look and work, for pages beside the report.
public enum ReportResources {
    /// The styles: colours, tables, the lens.
    public static let styles: [UInt8] = PackageResources.report_css
    /// The script: `mmqLens(article)` makes an article of class `lens` work.
    public static let script: [UInt8] = PackageResources.report_js
}
